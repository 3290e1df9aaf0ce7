import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../src/digest.ts'
import { verifyBlobFiles } from '../helpers/blob-files.ts'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { writeLayout } from './layout.ts'

export interface KilledPushes {
  readonly rounds: number
  /** Pushes that the client was told had worked. */
  readonly acknowledged: number
  /** Kills that came before the client was done. */
  readonly killedMidway: number
  /** Acknowledged images that do not pull whole, under the digest that was pushed. */
  readonly lost: readonly string[]
  /** Images that were not acknowledged and can be seen, but are not whole. */
  readonly halfVisible: readonly string[]
  /** Files left after the last start that are not those of an upload which can go on. */
  readonly strayFiles: readonly string[]
  /** Uploads left behind by killed pushes, to be continued or to expire. */
  readonly openUploads: number
}

const MIB = 1024 * 1024
const LAYER_SIZES = [6 * MIB, 2 * MIB, 64 * 1024]
const REPOSITORY = 'killed/pushes'
/** Enough for the client to outlast a start of the node on a busy machine; it waits longer each time. */
const CLIENT_RETRIES = '6'
/** Of the client for one push, each with its retries. */
const RUNS = 5
const PUSH_TIMEOUT_MS = 180_000

/**
 * Pushes images with skopeo, which retries, to a node that is killed in each round and started
 * again: at times spread evenly over how long a push takes. Needs skopeo.
 */
export async function killedPushes(rounds: number): Promise<KilledPushes> {
  const directory = await mkdtemp(join(tmpdir(), 'starling-killed-'))
  const cluster = await Cluster.open()
  try {
    let node = await (await cluster.node('node-1')).ready()
    const listen = { registry: node.addresses.registry, mesh: node.addresses.mesh }
    const restarted = () => cluster.node('node-1', { listen })
    // The first one is slower, since all is cold; kills would come too late.
    await pushTimed(directory, node, 'first')
    const undisturbedMs = await pushTimed(directory, node, 'undisturbed')
    const acknowledged = new Map<string, Digest>()
    const unacknowledged: string[] = []
    let killedMidway = 0
    for (let round = 1; round <= rounds; round++) {
      const tag = `round-${round}`
      const layout = join(directory, tag)
      const digest = await writeLayout(layout, LAYER_SIZES)
      let isDone = false
      const pushing = push(layout, node, tag).then(
        () => true,
        (error: unknown) => {
          console.error(`${tag} was given up:`, error)
          return false
        }
      )
      void pushing.then(() => {
        isDone = true
      })
      // Not a wait for anything: this is when the kill comes.
      await delay((undisturbedMs * (round - 1)) / rounds)
      if (!isDone) killedMidway += 1
      await node.kill()
      node = await restarted()
      if (await pushing) acknowledged.set(tag, digest)
      else unacknowledged.push(tag)
      await rm(layout, { recursive: true })
    }
    await node.kill()
    node = await (await restarted()).ready()
    await verifyBlobFiles(node.options.dataDir)
    const lost: string[] = []
    for (const [tag, digest] of acknowledged) {
      if (!(await pullsWhole(directory, node, tag, digest))) lost.push(tag)
    }
    const halfVisible: string[] = []
    for (const tag of unacknowledged) {
      if (!(await isVisible(node, tag))) continue
      if (!(await pullsWhole(directory, node, tag))) halfVisible.push(tag)
    }
    const { openUploads, strayFiles } = await leftovers(node)
    return {
      ...{ rounds, acknowledged: acknowledged.size, killedMidway },
      ...{ lost, halfVisible, strayFiles, openUploads }
    }
  } finally {
    await cluster.close()
    await rm(directory, { recursive: true, force: true })
  }
}

/** Pushes a new image without disturbance and gives how long that took, in milliseconds. */
async function pushTimed(directory: string, node: Daemon, tag: string): Promise<number> {
  const layout = join(directory, tag)
  await writeLayout(layout, LAYER_SIZES)
  const startMs = performance.now()
  await push(layout, node, tag)
  return performance.now() - startMs
}

/** Runs skopeo until it worked: by itself it does not try again after a broken pipe. */
async function push(layout: string, node: Daemon, tag: string): Promise<void> {
  const target = `docker://${node.addresses.registry}/${REPOSITORY}:${tag}`
  const flags = ['--retry-times', CLIENT_RETRIES, '--dest-tls-verify=false', '--preserve-digests']
  for (let left = RUNS; ; left--) {
    try {
      await run('skopeo', ['copy', ...flags, `oci:${layout}:made`, target], {
        timeoutMs: PUSH_TIMEOUT_MS
      })
      return
    } catch (error) {
      if (left === 1) throw error
    }
  }
}

/** skopeo checks the digest of everything that it pulls. */
async function pullsWhole(
  directory: string,
  node: Daemon,
  tag: string,
  digest?: Digest
): Promise<boolean> {
  const reference = digest === undefined ? `:${tag}` : `@${digest}`
  const target = join(directory, 'pulled')
  try {
    const source = `docker://${node.addresses.registry}/${REPOSITORY}${reference}`
    await run('skopeo', ['copy', '--src-tls-verify=false', source, `dir:${target}`])
    return digest === undefined || (await digestOfTag(node, tag)) === digest
  } catch (error) {
    console.error(`${tag} does not pull:`, error)
    return false
  } finally {
    await rm(target, { recursive: true, force: true })
  }
}

async function digestOfTag(node: Daemon, tag: string): Promise<string | null> {
  const url = `http://${node.addresses.registry}/v2/${REPOSITORY}/manifests/${tag}`
  const response = await fetch(url)
  await response.arrayBuffer()
  return response.headers.get('docker-content-digest')
}

async function isVisible(node: Daemon, tag: string): Promise<boolean> {
  return (await digestOfTag(node, tag)) !== null
}

/** Cancels every upload that a client could go on with: what is in `partial/` then is of nobody. */
async function leftovers(node: Daemon): Promise<Pick<KilledPushes, 'openUploads' | 'strayFiles'>> {
  const partial = join(node.options.dataDir, 'partial')
  let openUploads = 0
  for (const name of await readdir(partial)) {
    const id = /^upload-([0-9a-f-]{36})$/.exec(name)?.[1]
    if (id === undefined) continue
    const url = `http://${node.addresses.registry}/v2/${REPOSITORY}/blobs/uploads/${id}`
    const { status } = await fetch(url)
    if (status !== 204) continue
    openUploads += 1
    await fetch(url, { method: 'DELETE' })
  }
  return { openUploads, strayFiles: await readdir(partial) }
}
