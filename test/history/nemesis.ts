import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../../src/clock.ts'
import type { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import type { Namespaces } from '../helpers/namespaces.ts'
import type { Isolation, Wipe } from './operation.ts'

/** `wipe`: killed, and back on an empty disk. `isolate` needs nodes in namespaces. */
export type Fault = 'kill' | 'wipe' | 'pause' | 'isolate'

/** Longer than `--dead-after` of the nodes in some rounds and shorter in others. */
const MAX_FAULT_MS = 6_000
const CALM_MS = 500

export interface NemesisOptions {
  readonly cluster: Cluster
  /** The nodes; one that is started again takes the place of its former self. */
  readonly nodes: Daemon[]
  readonly namespaces?: Namespaces
  readonly faults: readonly Fault[]
  readonly random: Random
  readonly nowMs: () => number
  readonly signal: AbortSignal
}

/** What stood in the way of clients. */
export interface Trouble {
  readonly isolations: Isolation[]
  readonly wipes: Wipe[]
}

/**
 * Brings one fault after the other over one node at a time until the signal comes, and mends the
 * last. The next one waits until all have caught up, since the promises are about K-1 losses.
 */
export async function torment(options: NemesisOptions): Promise<Trouble> {
  const { nodes, faults, random, signal } = options
  const trouble: Trouble = { isolations: [], wipes: [] }
  while (!signal.aborted) {
    const index = Math.floor(random() * nodes.length)
    const fault = faults[Math.floor(random() * faults.length)]
    const lastsMs = random() * MAX_FAULT_MS
    if (fault === undefined) break
    await strike(options, index, fault, lastsMs, trouble)
    await Promise.all(nodes.map(node => settled(node, nodes.length - 1)))
    await delay(CALM_MS, undefined, { signal }).catch(() => undefined)
  }
  return trouble
}

/**
 * Waits until a node hears all others, is ready and lacks nothing, or only what they lack too: a
 * push that was not promised may leave behind the name of what was lost with a disk.
 */
export async function settled(node: Daemon, others: number): Promise<void> {
  await node.statusWhere(
    `to hear ${others} others, be ready and lack nothing that they have`,
    ({ peers, ready, blobs, transfers }) => {
      const heard = peers.filter(({ connected }) => connected)
      const isLevel =
        blobs.missing === 0 ||
        (transfers.length === 0 && heard.every(({ missing }) => missing === blobs.missing))
      return ready && heard.length === others && isLevel
    }
  )
}

async function strike(
  { cluster, nodes, namespaces, nowMs, signal }: NemesisOptions,
  index: number,
  fault: Fault,
  lastsMs: number,
  trouble: Trouble
): Promise<void> {
  const node = nodes[index]
  if (node === undefined) return
  const last = () => delay(lastsMs, undefined, { signal }).catch(() => undefined)
  const startMs = nowMs()
  switch (fault) {
    case 'pause':
      node.signal('SIGSTOP')
      await last()
      node.signal('SIGCONT')
      return
    case 'isolate':
      await namespaces?.isolate(index)
      await last()
      await namespaces?.heal(index)
      break
    default:
      await node.kill()
      if (fault === 'wipe') trouble.wipes.push({ node: node.name, atMs: startMs })
      await last()
      // With nobody to join, a node on an empty disk would be right to take itself for the first one.
      nodes[index] = await cluster.restart(
        node,
        fault === 'wipe' ? 'empty' : 'kept',
        nodes.filter(other => other !== node).map(({ addresses }) => addresses.mesh)
      )
  }
  await nodes[index]?.statusWhere('to hear its peers again', ({ peers }) =>
    peers.some(({ connected }) => connected)
  )
  trouble.isolations.push({ node: node.name, startMs, endMs: nowMs() })
}
