import type { NodeStatus } from '../../src/demo/node-process.ts'
import type { Digest } from '../../src/digest.ts'
import { cpuSeconds } from '../process-cpu.ts'

/** A node under measurement, of a cluster that a bench started or of one that runs already. */
export interface BenchNode {
  /** `host:port` of its registry, as reached from where it runs. */
  readonly registry: string
  /** What its admin port answers to a GET. */
  ask(path: string): Promise<string>
  /** A command that runs another one where the node is. */
  readonly within: readonly string[]
}

/** A node whose process and data the bench can see. */
export interface LocalNode extends BenchNode {
  readonly pid: number
  /** Where a blob lies once the node holds it. */
  fileOf(digest: Digest): string
}

export function isLocal(node: BenchNode): node is LocalNode {
  return 'pid' in node
}

/** What the metrics of a node say at one moment. */
export interface Reading {
  /** Bytes on the blob plane since its start. */
  readonly received: number
  readonly sent: number
  /** Of the event loop, since the reading before. */
  readonly loopDelayP99Seconds: number
}

/** Reads the metrics of a node; the delays of its event loop start afresh. */
export async function readMetrics(node: BenchNode): Promise<Reading> {
  const lines = (await node.ask('/metrics')).split('\n')
  const sample = (series: string) =>
    Number(lines.find(line => line.startsWith(`starling_${series} `))?.split(' ')[1] ?? 0)
  return {
    received: sample('bytes_received_total{plane="transfer"}'),
    sent: sample('bytes_sent_total{plane="transfer"}'),
    loopDelayP99Seconds: sample('event_loop_delay_seconds{quantile="0.99"}')
  }
}

export async function bytesHeld(node: BenchNode): Promise<number> {
  return (await statusOf(node)).blobs.bytesHeld
}

export async function isReady(node: BenchNode): Promise<boolean> {
  return (await statusOf(node)).ready
}

/** Processor time that nodes have used so far; not a number when they cannot be seen. */
export async function cpuSecondsOf(nodes: readonly BenchNode[]): Promise<number> {
  const each = nodes.map(node => (isLocal(node) ? cpuSeconds(node.pid) : Number.NaN))
  return (await Promise.all(each)).reduce((sum, seconds) => sum + seconds, 0)
}

async function statusOf(node: BenchNode): Promise<NodeStatus> {
  return JSON.parse(await node.ask('/status?images=0')) as NodeStatus
}

/** The nodes of a cluster that runs already, by their admin URLs; the first has the registry. */
export function nodesAt(admins: readonly string[], registry: string): readonly BenchNode[] {
  return admins.map(admin => ({
    registry,
    within: [],
    ask: async path => (await fetch(new URL(path, admin))).text()
  }))
}
