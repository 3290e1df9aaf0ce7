import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { MultiBar, Presets } from 'cli-progress'
import { withDeadline } from '../deadline.ts'
import { type ImageAddress, pullImage, pushImage } from './client.ts'
import { type MadeImage, makeImage } from './image.ts'
import { NodeProcess } from './node-process.ts'

const MiB = 1024 * 1024
/** Large enough to watch, small enough for any laptop. */
const LAYER_SIZES = [96 * MiB, 48 * MiB, 16 * MiB]
const NAMES = ['ada', 'bell', 'curie'] as const
const WATCH_MS = 50
/** Nothing in the demo takes a tenth of this on a machine that can run it at all. */
const STEP_TIMEOUT_MS = 120_000

export interface DemoOptions {
  /** End after the last step instead of staying up. */
  readonly once: boolean
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  readonly print?: (line: string) => void
}

/**
 * Shows what Starling is for, with three real nodes on this machine: push to one, lose that one,
 * pull from another, and watch the lost one come back empty and refill. Leaves nothing behind.
 */
export async function runDemo({ once, signal, print = console.log }: DemoOptions): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'starling-demo-'))
  const nodes: NodeProcess[] = []
  try {
    await show(dir, nodes, once, signal, print)
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    await Promise.all(nodes.map(node => (once ? node.stop() : node.kill())))
    await rm(dir, { recursive: true, force: true })
  }
  print(signal.aborted ? '\nStopped; nothing is left behind.' : '\nDone; nothing is left behind.')
}

async function show(
  dir: string,
  nodes: NodeProcess[],
  once: boolean,
  signal: AbortSignal,
  print: (line: string) => void
): Promise<void> {
  const secretFile = join(dir, 'cluster.secret')
  await writeFile(secretFile, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
  const start = async (name: string, joined?: string) => {
    const node = await NodeProcess.start({
      name,
      dataDir: join(dir, name),
      secretFile,
      ...(joined !== undefined && { join: joined })
    })
    nodes.push(node)
    return node
  }
  const within = () => withDeadline(STEP_TIMEOUT_MS, signal)

  print('\n  Starling: push once, to any node; pull from every node.\n')
  print('1. Three nodes start on this machine and find each other.')
  const ada = await start(NAMES[0])
  const bell = await start(NAMES[1], ada.addresses.mesh)
  const curie = await start(NAMES[2], ada.addresses.mesh)
  for (const node of [ada, bell, curie]) {
    await node.until(({ ready, peers }) => ready && liveIn(peers) === 2, within())
    print(`   ${node.name.padEnd(6)} registry http://${node.addresses.registry}`)
  }

  const image = makeImage(LAYER_SIZES)
  print(
    `\n2. An image of ${mebibytes(image.sizeBytes)} MiB is pushed to ${ada.name}, and to ${ada.name} alone.`
  )
  await watch([ada, bell, curie], image, within(), print, () =>
    pushImage(address(ada), image, { signal: within() })
  )

  print(`\n3. ${ada.name}, which took the push, is killed, and its disk is lost.`)
  await ada.kill()
  await rm(ada.dataDir, { recursive: true, force: true })
  const pulled = await pullImage(address(curie), { signal: within() })
  print(`   Pulled from ${curie.name}: ${mebibytes(pulled)} MiB, every digest verified.`)

  print(`\n4. ${ada.name} comes back with an empty disk. Nobody helps it.`)
  const reborn = await start(NAMES[0], bell.addresses.mesh)
  await watch([reborn, bell, curie], image, within(), print, async () => undefined)
  const again = await pullImage(address(reborn), { signal: within() })
  print(`   Pulled from ${reborn.name}: ${mebibytes(again)} MiB, every digest verified.`)
  if (once) return

  print('\nAll three stay up. Try:')
  print(
    `   skopeo copy --dest-tls-verify=false docker-archive:IMAGE.tar docker://${bell.addresses.registry}/mine:1`
  )
  print(`   curl http://${curie.addresses.registry}/v2/demo/starling/tags/list`)
  print(`   curl http://${curie.addresses.admin}/status`)
  print('Ctrl-C ends them and leaves nothing behind.')
  await delay(2 ** 31 - 1, undefined, { signal }).catch(() => undefined)
}

/** Runs an action while a bar per node shows how much of the image that node holds. */
async function watch(
  nodes: readonly NodeProcess[],
  image: MadeImage,
  signal: AbortSignal,
  print: (line: string) => void,
  action: () => Promise<unknown>
): Promise<void> {
  const format = '   {name} {bar} {percentage}%  {held} of {all} MiB'
  const bars = process.stderr.isTTY
    ? new MultiBar({ format, clearOnComplete: false, hideCursor: true }, Presets.shades_classic)
    : undefined
  const all = mebibytes(image.sizeBytes)
  const rows = nodes.map(node => ({
    node,
    bar: bars?.create(image.sizeBytes, 0, { name: node.name.padEnd(6), held: 0, all })
  }))
  try {
    const acting = action()
    await Promise.all([
      acting,
      ...rows.map(({ node, bar }) =>
        node.until(({ blobs }) => {
          const held = Math.min(blobs.bytesHeld, image.sizeBytes)
          bar?.update(held, { held: mebibytes(held) })
          return held === image.sizeBytes && blobs.missing === 0
        }, signal)
      )
    ])
    await delay(WATCH_MS)
    // Nobody watches bars in a file or a pipe; what they came to is told all the same.
    if (bars === undefined)
      for (const { name } of nodes) print(`   ${name.padEnd(6)} ${all} of ${all} MiB`)
  } finally {
    bars?.stop()
  }
}

function address(node: NodeProcess): ImageAddress {
  return { registry: node.addresses.registry, repository: 'demo/starling', tag: '1' }
}

function liveIn(peers: readonly { readonly state: string }[]): number {
  return peers.filter(({ state }) => state === 'live').length
}

function mebibytes(bytes: number): number {
  return Math.round(bytes / MiB)
}
