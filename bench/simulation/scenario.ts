import type { Random } from '../../src/clock.ts'
import { seededRandom } from './random.ts'

/** A slow node has this part of the others' rate, both ways. */
const SLOW_SHARE = 0.1

/** Nodes join and die in so many groups, spread over the time that a copy takes at best. */
const GROUPS = 10

/** What is odd about a node. */
export type Role = 'fast' | 'slow' | 'corrupt'

export interface SimulatedNode {
  readonly role: Role
  readonly bytesPerSecond: number
  /** When it comes, if not at the start. */
  readonly joinsMs?: number
  readonly diesMs?: number
}

/** Who takes part in a run, the seed first. */
export interface Scenario {
  readonly sizeBytes: number
  readonly seed: number
  readonly nodes: readonly SimulatedNode[]
}

/** The shares and counts that make a scenario; each node is odd in one way at most. */
export interface ScenarioOptions {
  readonly nodes: number
  readonly sizeBytes: number
  readonly bytesPerSecond: number
  readonly seed: number
  /** Shares of all nodes, from 0 to 1. */
  readonly slow: number
  readonly dead: number
  readonly late: number
  /** How many nodes send wrong pieces. */
  readonly corrupt: number
}

export function makeScenario(options: ScenarioOptions): Scenario {
  const { nodes, sizeBytes, bytesPerSecond, seed, slow, dead, late, corrupt } = options
  const random = seededRandom(seed ^ 0x5eed)
  const order = shuffled(nodes - 1, random).map(index => index + 1)
  const take = (count: number) => new Set(order.splice(0, Math.round(count)))
  const slowOnes = take(slow * nodes)
  const deadOnes = take(dead * nodes)
  const lateOnes = take(late * nodes)
  const corruptOnes = take(corrupt)
  const copyMs = (1000 * sizeBytes) / bytesPerSecond
  const moment = () => (copyMs * (1 + Math.floor(random() * GROUPS))) / (GROUPS + 1)
  return {
    sizeBytes,
    seed,
    nodes: Array.from({ length: nodes }, (_, index): SimulatedNode => {
      if (slowOnes.has(index)) return { role: 'slow', bytesPerSecond: bytesPerSecond * SLOW_SHARE }
      if (deadOnes.has(index)) return { role: 'fast', bytesPerSecond, diesMs: moment() }
      if (lateOnes.has(index)) return { role: 'fast', bytesPerSecond, joinsMs: moment() }
      return { role: corruptOnes.has(index) ? 'corrupt' : 'fast', bytesPerSecond }
    })
  }
}

function shuffled(count: number, random: Random): number[] {
  const list = Array.from({ length: count }, (_, index) => index)
  for (let at = count - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    const held = list[at] ?? 0
    list[at] = list[other] ?? 0
    list[other] = held
  }
  return list
}
