import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Clock } from '../../src/clock.ts'
import { type Digest, digestOf } from '../../src/digest.ts'
import { silentLog } from '../../src/log.ts'
import type { Beat } from '../../src/mesh/beat.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import type { GraphReference } from '../../src/replication/graph.ts'
import { Blobs } from '../../src/store/blobs.ts'

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
export const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json'

/** A digest of its own for each name. */
export function named(name: string): Digest {
  return digestOf(Buffer.from(name))
}

/** A reference to a layer, or with a type to a manifest. */
export function reference(
  digest: Digest,
  options: Partial<Omit<GraphReference, 'digest'>> = {}
): GraphReference {
  return { digest, sizeBytes: 1, manifestType: undefined, sparse: false, position: 0, ...options }
}

/** A clock that stands still until a test moves it. */
export class HandClock implements Clock {
  ms = 1_000

  now(): number {
    return this.ms
  }

  monotonic(): number {
    return this.ms
  }
}

/** A live, connected peer that holds everything, as far as it says. */
export function peer(
  id: string,
  view: Partial<PeerView> = {},
  beat: Partial<Beat> | undefined = {}
): PeerView {
  return {
    id,
    name: `node ${id}`,
    address: '127.0.0.1:1',
    state: 'live',
    connected: true,
    lastHeardMs: 0,
    transfer: { host: '127.0.0.1', port: 1, fingerprint: id },
    hold: 'all',
    beat: beat && {
      id,
      boot: 'boot',
      bootedAt: 0,
      sequence: 1,
      root: 'root',
      ready: true,
      disk: 'ok',
      hold: 'all',
      position: 0,
      promised: 0,
      confirmed: 0,
      caughtUp: 'root',
      missing: [],
      missingCount: 0,
      bytesHeld: 0,
      blobsHeld: 0,
      ...beat
    },
    ...view
  }
}

export async function temporary(context: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'starling-replication-'))
  context.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

export async function openBlobs(context: TestContext): Promise<Blobs> {
  const blobs = await Blobs.open({ dataDir: await temporary(context), log: silentLog })
  context.after(() => blobs.close())
  return blobs
}
