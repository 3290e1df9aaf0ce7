import type {
  ImagePage,
  ImageReference,
  Introspection,
  Readiness
} from '../../src/admin/introspection.ts'
import type {
  CollectionDocument,
  CollectionMode,
  ForgottenDocument,
  Operations,
  VerificationLine
} from '../../src/admin/operations.ts'
import { formatReference } from '../../src/admin/reference.ts'
import type { CopiesDocument, NodeCopy, StatusDocument } from '../../src/admin/status.ts'
import { parseDigest } from '../../src/digest.ts'
import type { Happening } from '../../src/happening.ts'

export const DIGEST = parseDigest(`sha256:${'ab'.repeat(32)}`)

export const STATUS: StatusDocument = {
  node: { id: '12D3KooWone', name: 'one', version: '0.1.0', uptimeSeconds: 3_661 },
  ready: true,
  reason: 'ready',
  peers: [
    {
      id: '12D3KooWtwo',
      name: 'two',
      address: '10.0.0.2:5052',
      state: 'live',
      connected: true,
      missing: 0
    },
    {
      id: '12D3KooWsix',
      name: 'six',
      address: '10.0.0.6:5052',
      state: 'away',
      connected: false,
      missing: null
    }
  ],
  refusedBy: [],
  holders: 2,
  blobs: { held: 3, missing: 1, bytesHeld: 5 * 1024 * 1024 },
  images: [{ repository: 'team/app', tag: 'v1', digest: DIGEST, bytes: 5_000_000, copies: 2 }],
  transfers: [{ digest: DIGEST, bytes: 2_048, done: 1_024, from: ['two'] }],
  disk: {
    totalBytes: 100 * 1024 ** 3,
    usedBytes: 40 * 1024 ** 3,
    limitBytes: 75 * 1024 ** 3,
    state: 'ok'
  },
  degraded: [],
  drift: null,
  lost: { images: [], mayHave: [] }
}

export const COLLECTION: CollectionDocument = {
  dryRun: false,
  obstacles: [],
  kept: { blobs: 3, bytes: 3_072 },
  waiting: { blobs: 0, bytes: 0 },
  due: { blobs: 1, bytes: 1_024 },
  swept: { blobs: 1, bytes: 1_024 },
  explained: [{ digest: DIGEST, bytes: 1_024, decision: 'sweep', reason: 'nobody cares' }],
  unexplained: 0
}

/** A node that says what a test tells it to, and remembers what it was asked. */
export class ScriptedNode implements Introspection, Operations {
  state: Readiness = { ready: true, reason: 'ready' }
  failure: Error | undefined
  readonly pages: ImagePage[] = []
  /** What is said of an image, one answer after the other; the last one is repeated. */
  holders: (readonly NodeCopy[] | undefined)[] = [undefined]
  asked = 0

  readiness(): Readiness {
    return this.state
  }

  async status(page: ImagePage): Promise<StatusDocument> {
    if (this.failure !== undefined) throw this.failure
    this.pages.push(page)
    return STATUS
  }

  async copies(reference: ImageReference): Promise<CopiesDocument> {
    const nodes = this.holders[Math.min(this.asked++, this.holders.length - 1)]
    const digest = nodes === undefined ? null : DIGEST
    return { reference: formatReference(reference), digest, nodes: nodes ?? [] }
  }

  readonly happenings: Happening[] = []

  past(): readonly Happening[] {
    return this.happenings
  }

  async *follow(signal: AbortSignal): AsyncGenerator<Happening, void> {
    yield* this.happenings
    await new Promise(resolve => signal.addEventListener('abort', resolve))
  }

  async metrics(): Promise<string> {
    return 'starling_peers 1\n'
  }

  readonly modes: CollectionMode[] = []
  collection: CollectionDocument = COLLECTION
  verification: readonly VerificationLine[] = []

  async collect(mode: CollectionMode): Promise<CollectionDocument> {
    this.modes.push(mode)
    return this.collection
  }

  forgotten: ForgottenDocument = { kind: 'unknown' }

  async forget(): Promise<ForgottenDocument> {
    return this.forgotten
  }

  async *verify(): AsyncGenerator<VerificationLine, void> {
    yield* this.verification
  }
}

/** A screen that keeps what is written on it. */
export class Notebook {
  text = ''
  readonly isTTY: boolean

  constructor(isTTY = false) {
    this.isTTY = isTTY
  }

  write(text: string): void {
    this.text += text
  }
}
