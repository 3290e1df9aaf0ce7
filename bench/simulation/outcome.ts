import type { Network } from './network.ts'
import type { Role, Scenario } from './scenario.ts'

/** The node that has the blob at the start. */
export const SEED = 0

/** How a run ended. Times are in seconds from the blob's commit on the seed, or from joining. */
export interface Outcome {
  /** Of each node that lived and completed, except the seed. */
  readonly seconds: readonly {
    readonly node: number
    readonly role: Role
    readonly seconds: number
  }[]
  readonly incomplete: number
  readonly events: number
  readonly seedEgressRatio: number
  readonly duplicateRatio: number
  readonly controlMessages: number
}

/** What a run leaves behind. */
export interface Traces {
  readonly network: Network
  /** When each node came, and when it had everything: not a number for never. */
  readonly startMs: Float64Array
  readonly doneMs: Float64Array
  readonly events: number
  readonly controlMessages: number
}

/** Adds up a run. Nodes that died count neither as complete nor as incomplete. */
export function tally({ nodes, sizeBytes }: Scenario, traces: Traces): Outcome {
  const { network, startMs, doneMs, events, controlMessages } = traces
  const seconds: { node: number; role: Role; seconds: number }[] = []
  let received = 0
  let needed = 0
  for (const [node, { role, diesMs }] of nodes.entries()) {
    if (node === SEED || diesMs !== undefined) continue
    received += network.receivedBytes[node] ?? 0
    needed += sizeBytes
    const tookMs = (doneMs[node] ?? Number.NaN) - (startMs[node] ?? 0)
    if (!Number.isNaN(tookMs)) seconds.push({ node, role, seconds: tookMs / 1000 })
  }
  const incomplete = Math.round(needed / sizeBytes) - seconds.length
  return {
    seconds,
    incomplete,
    events,
    controlMessages,
    seedEgressRatio: (network.sentBytes[SEED] ?? 0) / sizeBytes,
    duplicateRatio: incomplete > 0 ? Number.NaN : Math.max(0, received / needed - 1)
  }
}
