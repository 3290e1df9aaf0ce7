import { mkdir } from 'node:fs/promises'
import { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { systemClock, systemRandom } from '../../src/clock.ts'
import { type Digest, digestOf } from '../../src/digest.ts'
import { StarlingError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Mesh } from '../../src/mesh/mesh.ts'
import { Secrets } from '../../src/mesh/secret.ts'
import { answer } from '../../src/records/answer.ts'
import { peerStore } from '../../src/records/peer-store.ts'
import { Records } from '../../src/records/records.ts'
import {
  decodeHave,
  encodeAnnouncement,
  encodeSizes,
  HAVE_PROTOCOL,
  MAX_HAVE_BYTES,
  RECONCILE_PROTOCOL
} from '../../src/replication/wire.ts'
import { openCredentials } from '../../src/swarm/certificate.ts'
import type { BlobSource } from '../../src/swarm/send-blob.ts'
import { TransferServer } from '../../src/swarm/server.ts'
import type { Nodes } from './nodes.ts'

const MAX_FRAME_BYTES = 4 * 1024 * 1024

/** What the puppet gives when it is asked for a blob from a byte on. */
export type Give = (bytes: Buffer, start: number) => AsyncIterable<Buffer> | Iterable<Buffer>

/** A blob that the puppet says it holds, and how it gives it. */
export interface PuppetBlob {
  readonly bytes: Buffer
  readonly give: Give
}

/**
 * A member of the cluster in every respect but one: what its transfer port gives is up to the test.
 * It has the secret, a mesh, records and a certificate, all real, and announces what it says it holds.
 */
export class Puppet {
  readonly mesh: Mesh
  readonly records: Records
  readonly #blobs = new Map<Digest, PuppetBlob>()

  static async open(context: TestContext, nodes: Nodes, join: readonly string[]): Promise<Puppet> {
    const dataDir = nodes.dataDir('puppet')
    await mkdir(dataDir, { recursive: true })
    const { secretFile: file } = nodes
    const shared = { dataDir, log: silentLog, clock: systemClock }
    const credentials = await openCredentials(shared)
    const secrets = await Secrets.open({ ...shared, file, joining: true })
    const blobs = new Map<Digest, PuppetBlob>()
    let puppet: Puppet | undefined
    const mesh: Mesh = await Mesh.open({
      ...{ ...shared, name: 'puppet', listen: { host: '127.0.0.1', port: 0 }, join, secrets },
      ...{ deadAfterMs: 6_000, forgetAfterMs: 60_000, random: systemRandom },
      self: () => {
        const root = puppet?.records.root().hash ?? ''
        const nothing = { missing: [], missingCount: 0, bytesHeld: 0, blobsHeld: 0 }
        const place = { position: 0, promised: 0, confirmed: 0 }
        return { root, ready: true, disk: 'ok', hold: 'all', caughtUp: root, ...nothing, ...place }
      },
      hello: () => ({
        transfer: server.address,
        fingerprint: credentials.fingerprint,
        hold: 'all'
      })
    })
    const server = await TransferServer.open({
      ...{ host: '127.0.0.1', port: 0, credentials, source: sourceOf(blobs), log: silentLog },
      pinned: fingerprint => mesh.isPinned(fingerprint)
    })
    const records = await Records.open({ ...shared, origin: mesh.id })
    puppet = new Puppet(mesh, records, blobs)
    context.after(async () => {
      await server.close()
      await mesh.close()
      await records.close()
      secrets.close()
    })
    mesh.handle(RECONCILE_PROTOCOL, MAX_FRAME_BYTES, (peer, request) =>
      answer(peerStore(records, peer), request)
    )
    mesh.handle(HAVE_PROTOCOL, MAX_HAVE_BYTES, async (_peer, request) =>
      encodeSizes(decodeHave(request).map(digest => blobs.get(digest)?.bytes.length ?? -1))
    )
    await mesh.start()
    await records.write([{ kind: 'member', ...mesh.member }])
    return puppet
  }

  private constructor(mesh: Mesh, records: Records, blobs: Map<Digest, PuppetBlob>) {
    this.mesh = mesh
    this.records = records
    this.#blobs = blobs
  }

  /** Says that it holds a blob, to whoever asks. */
  holds(bytes: Buffer, give: Give): Digest {
    const digest = digestOf(bytes)
    this.#blobs.set(digest, { bytes, give })
    return digest
  }

  /** Tells everybody that it holds these blobs, so that it is the first to be asked for them. */
  announce(digests: readonly Digest[]): void {
    this.mesh.publish(encodeAnnouncement({ kind: 'held', digests }))
  }
}

/** The true bytes. */
export function* honestly(bytes: Buffer, start: number): Generator<Buffer> {
  for (let at = start; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

function sourceOf(blobs: ReadonlyMap<Digest, PuppetBlob>): BlobSource {
  return {
    stat: digest => {
      const blob = blobs.get(digest)
      return blob && { sizeBytes: blob.bytes.length }
    },
    read: async (digest, range) => {
      const blob = blobs.get(digest)
      if (blob === undefined) throw new StarlingError('BLOB_UNKNOWN', 'the puppet has it not')
      return Readable.from(blob.give(blob.bytes, range?.start ?? 0), { objectMode: false })
    }
  }
}
