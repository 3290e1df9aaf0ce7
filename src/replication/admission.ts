import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { ParsedManifest, Reference } from '../manifest.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Cluster } from './cluster.ts'
import type { DiskWatch } from './disk-space.ts'
import type { Inventory } from './inventory.ts'
import { unavailable } from './unavailable.ts'

/** How long a pushed manifest's blobs are looked for elsewhere before the push is refused. */
const LOCATE_TIMEOUT_MS = 2_000

/** A link record has room for the positions of so many absent blobs. */
const MAX_ABSENT = 200

/**
 * What a pushed manifest may name that is not there: nothing, manifests that an index lists, or
 * also layers and whatever else an image needs.
 */
export type Sparse = 'none' | 'indexes' | 'all'

export interface AdmissionOptions {
  readonly blobs: Blobs
  readonly inventory: Inventory
  readonly cluster: Cluster
  readonly disk: DiskWatch
  /** `indexes` if not given. */
  readonly sparse?: Sparse
}

/** Decides whether this node takes what a client pushes. */
export class Admission {
  readonly #options: AdmissionOptions
  readonly #sparse: Sparse

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#sparse = options.sparse ?? 'indexes'
  }

  /** Throws `UNAVAILABLE` once this node is about to leave: another may take the push. */
  requireStaying(): void {
    if (this.#options.cluster.isStopping) throw unavailable('this node is stopping')
  }

  /** Throws `UNAVAILABLE` while this node cannot tell what a write would replace, or is stopping. */
  requireReady(): void {
    this.requireStaying()
    if (!this.#options.cluster.mustNotWrite()) return
    throw unavailable(
      'this node is still catching up with the cluster and changes no manifests yet'
    )
  }

  /** Throws `DISK_FULL` when so many bytes would fill the disk above its limit, or it is by now. */
  requireRoom(comingBytes = 0): void {
    const { state, usedBytes, limitBytes } = this.#options.disk.space()
    if (state === 'ok' && usedBytes + comingBytes <= limitBytes) return
    const what = state === 'ok' ? `has no room for ${comingBytes} bytes` : `is ${state}`
    throw new StarlingError(
      'DISK_FULL',
      `the disk of this node ${what}: ${usedBytes} bytes used, pushes stop above ${limitBytes} (--max-disk)`
    )
  }

  /**
   * Throws `MANIFEST_BLOB_UNKNOWN` for what the manifest names and neither this repository has nor
   * the manifest may lack, and `MANIFEST_INVALID` when it is wrong about the size of something.
   *
   * @returns the positions of blobs that are absent and may be
   */
  async requireReferences(
    repository: string,
    manifest: ParsedManifest
  ): Promise<readonly number[]> {
    const { blobs, inventory, cluster } = this.#options
    const isHidden = ({ digest }: Reference) => !inventory.graph.isVisible(repository, digest)
    const needed = manifest.references.filter(reference => this.#isNeeded(reference))
    if (needed.some(isHidden)) await cluster.catchUp(LOCATE_TIMEOUT_MS)
    const elsewhere = needed.filter(({ digest }) => blobs.stat(digest) === undefined)
    const { held, silent } =
      elsewhere.length === 0
        ? { held: new Map<Digest, number>(), silent: [] }
        : await cluster.locate(
            elsewhere.map(({ digest }) => digest),
            LOCATE_TIMEOUT_MS
          )
    const sizeOf = (digest: Digest) => blobs.stat(digest)?.sizeBytes ?? held.get(digest)
    const isUnknown = (each: Reference) => isHidden(each) || sizeOf(each.digest) === undefined
    checkSizes(
      manifest.references.filter(each => !isHidden(each)),
      sizeOf
    )
    const unknown = new Set(needed.filter(isUnknown).map(({ digest }) => digest))
    if (unknown.size === 0) return []
    if (silent.length > 0) {
      throw unavailable('not every live member has said which blobs of the manifest it holds')
    }
    const absent = manifest.references.flatMap(({ digest }, position) =>
      unknown.has(digest) ? [position] : []
    )
    if (this.#sparse === 'all' && absent.length <= MAX_ABSENT) return absent
    throw unknownBlobs(repository, [...unknown])
  }

  #isNeeded({ absence }: Reference): boolean {
    return absence === undefined || (absence === 'sparse' && this.#sparse === 'none')
  }
}

/** A wrong size would fail every pull, and every copy of the blob to another node. */
function checkSizes(
  references: readonly Reference[],
  sizeOf: (digest: Digest) => number | undefined
): void {
  for (const { digest, sizeBytes } of references) {
    const found = sizeOf(digest)
    if (found === undefined || found === sizeBytes) continue
    throw new StarlingError(
      'MANIFEST_INVALID',
      `the manifest gives ${digest} ${sizeBytes} bytes, it has ${found}`
    )
  }
}

function unknownBlobs(repository: string, digests: readonly Digest[]): StarlingError {
  const examples = digests.slice(0, 3).join(', ')
  return new StarlingError(
    'MANIFEST_BLOB_UNKNOWN',
    `the manifest names what ${repository} does not have: ${examples}`,
    { detail: digests }
  )
}
