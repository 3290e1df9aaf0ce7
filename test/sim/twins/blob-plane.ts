import { Readable } from 'node:stream'
import { type Digest, digestOf } from '../../../src/digest.ts'
import { StarlingError } from '../../../src/errors.ts'
import type { Fetcher } from '../../../src/swarm/fetcher.ts'
import type { Host, World } from '../machine/world.ts'
import type { Settings } from '../settings.ts'
import type { SimBlobs } from './blobs.ts'
import type { SimMesh } from './mesh.ts'

/** Blobs come over the mesh here; what that costs in time is for the schedule to say. */
const BLOB_PROTOCOL = 'simulated-blob'
const COMPLAINT_PROTOCOL = 'simulated-complaint'
const MAX_BYTES = 1024 * 1024
/** Beyond the slowest copy of a schedule. */
const FETCH_TIMEOUT_MS = 5_000

/** What stands in for the blob plane of one node: it gives whole blobs to others, and asks them. */
export class BlobPlane {
  readonly #mesh: SimMesh

  constructor(options: {
    readonly world: World
    readonly host: Host
    readonly settings: Settings
    readonly mesh: SimMesh
    readonly blobs: SimBlobs
  }) {
    const { world, host, settings, mesh, blobs } = options
    this.#mesh = mesh
    mesh.handle(BLOB_PROTOCOL, MAX_BYTES, async (_peer, request) => {
      const digest = Buffer.from(request).toString() as Digest
      await world.sleep(world.between(0, settings.copyMs))
      // Unread and unverified, as the blob plane sends it; empty for a blob that is not here.
      const held = blobs.stat(digest) && host.disk.blobs.get(digest)
      return held ?? Buffer.alloc(0)
    })
    mesh.handle(COMPLAINT_PROTOCOL, MAX_BYTES, async (_peer, request) => {
      await blobs.check(Buffer.from(request).toString() as Digest)
      return Buffer.alloc(0)
    })
  }

  /** Asks a holder for a blob, verifies it, and complains of a wrong one. */
  async fetch(holder: string, digest: Digest): Promise<Buffer> {
    const bytes = await this.#raw(holder, digest)
    if (digestOf(bytes) === digest) return bytes
    await this.#ask(holder, COMPLAINT_PROTOCOL, digest)
    throw new StarlingError('PEER_FAILED', `${digest} has rotted there`)
  }

  /** For what a node without room passes on. */
  fetcher(): Fetcher {
    return {
      open: async (holder, digest, start) => {
        const bytes = await this.#raw(holder.id, digest)
        return { sizeBytes: bytes.length, body: Readable.from([bytes.subarray(start)]) }
      },
      close: async () => undefined
    }
  }

  /** What a holder sends, which nobody has verified. */
  async #raw(holder: string, digest: Digest): Promise<Buffer> {
    const bytes = await this.#ask(holder, BLOB_PROTOCOL, digest)
    if (bytes.length > 0) return bytes
    throw new StarlingError('BLOB_UNKNOWN', `${digest} is not there`)
  }

  async #ask(holder: string, protocol: string, digest: Digest): Promise<Buffer> {
    const options = { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS), maxBytes: MAX_BYTES }
    try {
      return Buffer.from(await this.#mesh.request(holder, protocol, Buffer.from(digest), options))
    } catch (cause) {
      throw new StarlingError('PEER_FAILED', `${digest} did not come`, { cause })
    }
  }
}
