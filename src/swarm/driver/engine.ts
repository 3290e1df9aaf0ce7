import type { Clock, Random } from '../../clock.ts'
import type { Limits } from '../schedule/limits.ts'
import type { Effect, Event } from '../schedule/messages.ts'
import { newSchedule, type Schedule } from '../schedule/schedule.ts'
import { step } from '../schedule/step.ts'
import type { Swarm } from '../schedule/swarm.ts'

export interface EngineOptions {
  readonly limits: Limits
  readonly clock: Pick<Clock, 'monotonic'>
  readonly random: Random
  /** Does what the scheduler wants done; may tell the engine of more. */
  readonly perform: (effect: Exclude<Effect, { kind: 'wake' }>) => void
}

/** Runs a scheduler in real time: events go in one after the other, effects are performed in order. */
export class Engine {
  readonly #options: EngineOptions
  readonly #schedule: Schedule
  readonly #events: Event[] = []
  #isRunning = false
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: EngineOptions) {
    this.#options = options
    this.#schedule = newSchedule(options.limits)
  }

  /** Told while an event is worked on, an event waits for its turn. */
  tell(event: Event): void {
    this.#events.push(event)
    if (this.#isRunning || this.#closed) return
    this.#isRunning = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        this.#step(next)
      }
    } finally {
      this.#isRunning = false
    }
  }

  /** What the scheduler knows of a blob; to be looked at only. */
  swarm(key: string): Swarm | undefined {
    return this.#schedule.swarms.get(key)
  }

  get peerCount(): number {
    return this.#schedule.peers.size
  }

  /** Nothing happens any more. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #step(event: Event): void {
    const { clock, random, perform } = this.#options
    for (const effect of step(this.#schedule, event, clock.monotonic(), random)) {
      if (effect.kind === 'wake') this.#wake(effect.atMs)
      else perform(effect)
    }
  }

  /** A later moment asked for before is asked for again when this one has come. */
  #wake(atMs: number): void {
    clearTimeout(this.#timer)
    const inMs = Math.ceil(atMs - this.#options.clock.monotonic())
    this.#timer = setTimeout(() => this.#awake(atMs), Math.max(0, inMs)).unref()
  }

  /** Timers may come a little early, and the scheduler would go on waiting. */
  #awake(atMs: number): void {
    if (this.#closed) return
    if (this.#options.clock.monotonic() < atMs) this.#wake(atMs)
    else this.tell({ kind: 'tick' })
  }
}
