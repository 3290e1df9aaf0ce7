import { setImmediate as turn } from 'node:timers/promises'
import type { Random } from '../../../src/clock.ts'
import type { Disk } from './disk.ts'

/** A machine of the simulated cluster. Whatever runs on it ends with its epoch, and stops with it. */
export interface Host {
  readonly name: string
  /** Dialable `host:port`, the same for every process that runs here. */
  readonly address: string
  readonly disk: Disk
  /** Grows when the process here ends: what it still waited for never comes. */
  epoch: number
  running: boolean
  paused: boolean
  /** What fell due while it was paused, in order. */
  readonly deferred: Task[]
  /** Its wall clock minus the world's. */
  skewMs: number
  bootedAtMs: number
}

/** Something that will happen. */
export interface Task {
  atMs: number
  order: number
  readonly host: Host | undefined
  readonly epoch: number
  readonly run: () => void
  cancelled: boolean
}

/** Where virtual time begins on every wall clock: 2026-01-01. */
export const EPOCH_MS = 1_767_225_600_000

let active: World | undefined

/** The world in which code runs at this moment; `undefined` outside of every simulation. */
export function activeWorld(): World | undefined {
  return active
}

/**
 * Virtual time: a queue of all that will happen, and the only source of chance. After each task
 * every promise that can go on does so before the next one begins, so that a seed decides all.
 */
export class World {
  nowMs = 0
  readonly random: Random
  /** What broke: thrown by a timer, or rejected with nobody to hear it. */
  readonly failures: unknown[] = []
  tasks = 0
  #queue: Task[] = []
  #order = 0
  #host: Host | undefined
  #epoch = 0

  constructor(seed: number) {
    this.random = randomOf(seed)
  }

  /** The machine whose code runs now; `undefined` while the simulator itself does. */
  get host(): Host | undefined {
    return this.#host
  }

  /** Whether the process whose code runs now has not been ended in the middle of it. */
  isAlive(): boolean {
    return this.#host === undefined || this.#host.epoch === this.#epoch
  }

  /** Lets something happen after a while, unless the process of the host has ended by then. */
  after(delayMs: number, host: Host | undefined, run: () => void): Task {
    const atMs = this.nowMs + Math.max(0, delayMs)
    const epoch = host === this.#host ? this.#epoch : (host?.epoch ?? 0)
    const task = { atMs, order: this.#order++, host, epoch, run, cancelled: false }
    push(this.#queue, task)
    return task
  }

  /** Resolves after a while, on the host that asks; never once its process has ended. */
  sleep(delayMs: number): Promise<void> {
    return new Promise(resolve => this.after(delayMs, this.#host, resolve))
  }

  /** A number of at least `least` and less than `most`. */
  between(least: number, most: number): number {
    return least + this.random() * (most - least)
  }

  chance(share: number): boolean {
    return this.random() < share
  }

  pick<Item>(items: readonly Item[]): Item {
    if (items.length === 0) throw new RangeError('nothing to pick from')
    return items[Math.floor(this.random() * items.length)] as Item
  }

  /** Runs all that falls due up to a moment, in order; `isOver` is asked after each task, with its host. */
  async run(untilMs: number, isOver: (host: Host | undefined) => boolean): Promise<void> {
    active = this
    try {
      for (;;) {
        const next = this.#queue[0]
        if (next === undefined || next.atMs > untilMs) break
        this.#step(pop(this.#queue))
        await turn()
        const host = this.#host
        this.#host = undefined
        if (isOver(host)) return
      }
      this.nowMs = Math.max(this.nowMs, untilMs)
      // What was begun after the last task still sees all as it was.
      await turn()
    } finally {
      active = undefined
    }
  }

  resume(host: Host): void {
    host.paused = false
    for (const task of host.deferred.splice(0)) {
      task.atMs = this.nowMs
      task.order = this.#order++
      push(this.#queue, task)
    }
  }

  #step(task: Task): void {
    this.nowMs = Math.max(this.nowMs, task.atMs)
    const { host } = task
    if (task.cancelled) return
    if (host !== undefined && host.epoch !== task.epoch) return
    if (host?.paused) {
      host.deferred.push(task)
      return
    }
    this.tasks += 1
    this.#host = host
    this.#epoch = task.epoch
    try {
      task.run()
    } catch (error) {
      this.failures.push(error)
    }
  }
}

/** Numbers from 0 to 1, the same for the same seed (splitmix32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32
  }
}

function isBefore(a: Task, b: Task): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** A binary heap: the first in line is at 0. */
function push(heap: Task[], task: Task): void {
  let at = heap.push(task) - 1
  while (at > 0) {
    const above = (at - 1) >> 1
    const parent = heap[above]
    if (parent === undefined || !isBefore(task, parent)) break
    heap[at] = parent
    at = above
  }
  heap[at] = task
}

function pop(heap: Task[]): Task {
  const [first] = heap
  const last = heap.pop()
  if (first === undefined || last === undefined) throw new RangeError('nothing is in line')
  if (first === last) return first
  let at = 0
  for (;;) {
    const left = heap[2 * at + 1]
    const right = heap[2 * at + 2]
    const isRight = left !== undefined && right !== undefined && isBefore(right, left)
    const child = isRight ? right : left
    if (child === undefined || !isBefore(child, last)) break
    heap[at] = child
    at = 2 * at + (isRight ? 2 : 1)
  }
  heap[at] = last
  return first
}
