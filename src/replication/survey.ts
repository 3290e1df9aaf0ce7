import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Digest } from '../digest.ts'
import type { Blobs } from '../store/blobs.ts'
import type { CandidateFacts, Candidates, Claim, Decision } from './collect.ts'
import type { Inventory } from './inventory.ts'
import type { Leases } from './leases.ts'
import type { Pins } from './pins.ts'

/** So many blobs, in a millisecond or so, before others get a turn of the event loop. */
const BATCH = 500
/** Decisions that are told one by one; the rest is counted. */
const MAX_EXPLAINED = 1_000

export interface Sum {
  readonly blobs: number
  readonly bytes: number
}

export interface Explained {
  readonly digest: Digest
  readonly bytes: number
  readonly decision: Decision['kind']
  readonly reason: string
}

/** What one look at everything held found. */
export interface Survey {
  readonly sums: Readonly<Record<Decision['kind'], Sum>>
  /** Those that may be swept, as far as they themselves are concerned. */
  readonly due: readonly Digest[]
  /** As {@link survey} says, as far as they fit. */
  readonly explained: readonly Explained[]
  readonly unexplained: number
  /** Manifests held and called for that could not be read yet. */
  readonly unread: readonly Digest[]
}

export interface SurveyParts {
  readonly blobs: Blobs
  readonly inventory: Inventory
  readonly leases: Leases
  readonly pins: Pins
}

/**
 * Looks at every blob held, a batch at a time. It explains every decision but those on blobs that an
 * image needs, and of these the images that no tag points at, which are easily taken for deleted.
 */
export async function survey(
  parts: SurveyParts,
  candidates: Candidates,
  facts: CandidateFacts,
  untagged: ReadonlySet<Digest>
): Promise<Survey> {
  const sums = { keep: noSum(), wait: noSum(), sweep: noSum() }
  const due: Digest[] = []
  const unread: Digest[] = []
  const explained: Explained[] = []
  let unexplained = 0
  let looked = 0
  for (const digest of [...parts.blobs.digests()]) {
    if (++looked % BATCH === 0) await nextTurn()
    const bytes = parts.blobs.stat(digest)?.sizeBytes
    if (bytes === undefined) continue
    const claim = claimOn(parts, digest)
    const decision = candidates.look(digest, claim, facts)
    const { kind } = decision
    sums[kind].blobs += 1
    sums[kind].bytes += bytes
    if (kind === 'sweep') due.push(digest)
    if (claim.kind !== 'none' && isUnread(parts, digest)) unread.push(digest)
    if (claim.kind === 'linked' && !untagged.has(digest)) continue
    const reason = claim.kind === 'linked' ? untaggedWords(parts, digest) : decision.reason
    if (explained.length < MAX_EXPLAINED) explained.push({ digest, bytes, decision: kind, reason })
    else unexplained += 1
  }
  return { sums, due, explained, unexplained, unread }
}

/** What speaks for a blob now. */
export function claimOn({ inventory, leases, pins }: SurveyParts, digest: Digest): Claim {
  const claim = inventory.graph.claim(digest)
  if (claim === 'link') return { kind: 'linked' }
  if (claim === 'lease') return { kind: 'leased', leftMs: leases.leftMs(digest) }
  return pins.has(digest) ? { kind: 'used' } : { kind: 'none' }
}

function untaggedWords({ inventory: { graph } }: SurveyParts, digest: Digest): string {
  const [image] = graph.imagesWith(digest)
  const name = image === undefined ? digest : `${image.repository}@${digest}`
  return `no tag points at ${name}, and it stays all the same until it is deleted by its digest`
}

function isUnread({ inventory: { graph } }: SurveyParts, digest: Digest): boolean {
  return graph.manifestType(digest) !== undefined && !graph.isRead(digest)
}

function noSum(): { blobs: number; bytes: number } {
  return { blobs: 0, bytes: 0 }
}
