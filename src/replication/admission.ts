import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { ParsedManifest, Reference } from '../manifest.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Cluster } from './cluster.ts'
import type { DiskWatch } from './disk-space.ts'
import type { Inventory } from './inventory.ts'
import type { Room } from './room.ts'
import { unavailable } from './unavailable.ts'

/** How long a pushed manifest's blobs are looked for elsewhere before the push is refused. */
const LOCATE_TIMEOUT_MS = 2_000

/** Of a body of unknown length so much is promised room at a time, so that not every chunk asks. */
const PROMISE_BYTES = 16 * 1024 * 1024

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
  readonly room: Room
  /** `indexes` if not given. */
  readonly sparse?: Sparse
}

/** Room that was promised to one body of a push. */
export interface Promised {
  /** Counts bytes before they are written. Throws `DISK_FULL` when there is no room for them. */
  take(bytes: number): void
  /** Gives back what was not used. */
  release(): void
}

/**
 * Decides whether this node takes what a client pushes.
 *
 * A push needs room in two places. On K' members, or it could not be kept as it was asked to be: so
 * much is asked of all, whichever node the client talks to. And on the node that takes its bytes,
 * which is why one without room has a roomier one answer (`Room.isBetterElsewhere`): through it a
 * push goes on as long as K' others can keep it, and stays refused, in words, only when they cannot.
 */
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
      `this node changes no manifests yet: ${this.#options.cluster.readiness().reason}`
    )
  }

  /** Throws `DISK_FULL` unless K' live members have room for so many bytes. */
  async requireRoom(bytes = 1): Promise<void> {
    const { room, disk } = this.#options
    if (room.clusterBytes() >= bytes) return
    await disk.look()
    if (room.clusterBytes() < bytes) throw this.#full(bytes)
  }

  /**
   * Promises room here to a body, all of it where its length is known: two pushes at once do not
   * both count on the same. Throws `DISK_FULL` as {@link requireRoom}, and when there is none here.
   */
  async promise(lengthBytes = 0): Promise<Promised> {
    const { room, disk } = this.#options
    const isAdmitted = () =>
      Math.min(room.hereBytes(), room.clusterBytes()) >= Math.max(1, lengthBytes)
    if (!isAdmitted()) await disk.look()
    if (!isAdmitted()) throw this.#full(lengthBytes)
    let leftBytes = lengthBytes
    const release = disk.claim('push', () => leftBytes)
    const extend = (bytes: number) => {
      const roomBytes = Math.min(room.hereBytes(), room.clusterBytes())
      if (roomBytes < bytes) throw this.#full(bytes)
      leftBytes += Math.min(roomBytes, Math.max(bytes, PROMISE_BYTES))
    }
    return {
      take: bytes => {
        if (bytes > leftBytes) extend(bytes - leftBytes)
        leftBytes -= bytes
        disk.wrote(bytes)
      },
      release
    }
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
    // A file that was removed behind our back is missed here, where its pusher can still send it.
    for (const { digest } of needed) await blobs.look(digest)
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

  #full(bytes: number): StarlingError {
    const { disk, room } = this.#options
    const { state, usedBytes, limitBytes } = disk.space()
    const what = state === 'ok' ? `has no room for ${bytes} bytes` : `is ${state}`
    const here = `the disk of this node ${what}: ${usedBytes} bytes used, pushes stop above ${limitBytes} (--max-disk)`
    const wanted = room.wantedMembers()
    const words = `${room.membersFor(Math.max(1, bytes))} of the ${wanted} nodes needed have room`
    return new StarlingError('DISK_FULL', wanted > 1 ? `${words}; ${here}` : here)
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
