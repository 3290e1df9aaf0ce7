import type { Random } from '../../../src/clock.ts'
import { Bits } from '../../../src/swarm/schedule/bits.ts'
import type { Limits } from '../../../src/swarm/schedule/limits.ts'
import type { Effect, Event, PieceOf, Urgency } from '../../../src/swarm/schedule/messages.ts'
import { newSchedule, type Schedule } from '../../../src/swarm/schedule/schedule.ts'
import { step } from '../../../src/swarm/schedule/step.ts'

/** Time that passes with each event, in milliseconds: enough for deadlines to matter in a test. */
const STEP_MS = 3

/** What a node does with the pieces that it sends. */
export type Manner = 'honest' | 'corrupt' | 'silent'

export interface Bird {
  readonly id: string
  readonly schedule: Schedule
  manner: Manner
  /** Pieces that came in and were right, by blob. */
  readonly stored: Map<string, Set<number>>
  readonly complete: Set<string>
}

interface Letter {
  readonly to: string
  readonly event: Event
  readonly notBeforeMs: number
}

/**
 * Some schedulers in one room: their effects are delivered as events in an order drawn by chance,
 * but in order between any two of them, as on a stream. After every step `watch` sees what was done.
 */
export class Flock {
  readonly birds = new Map<string, Bird>()
  nowMs = 0
  readonly #random: Random
  readonly #watch: (bird: Bird, effects: readonly Effect[]) => void
  #letters: Letter[] = []

  constructor(random: Random, watch: (bird: Bird, effects: readonly Effect[]) => void = () => {}) {
    this.#random = random
    this.#watch = watch
  }

  add(id: string, limits?: Limits): Bird {
    const bird: Bird = {
      id,
      schedule: newSchedule(limits),
      manner: 'honest',
      stored: new Map(),
      complete: new Set()
    }
    this.birds.set(id, bird)
    return bird
  }

  link(a: string, b: string): void {
    this.tell(a, { kind: 'peer-up', peer: b })
    this.tell(b, { kind: 'peer-up', peer: a })
  }

  linkAll(): void {
    const ids = [...this.birds.keys()]
    for (const [at, a] of ids.entries()) for (const b of ids.slice(at + 1)) this.link(a, b)
  }

  ingest(id: string, blob: string, pieces: number): void {
    this.tell(id, { kind: 'ingest', ...start(blob, pieces), held: Bits.full(pieces) })
  }

  fetch(
    id: string,
    blob: string,
    pieces: number,
    urgency: Urgency = 'background',
    order = 0
  ): void {
    const held = new Bits(pieces)
    this.tell(id, { kind: 'fetch', ...start(blob, pieces), held, urgency, order })
  }

  /** The node is gone, and everyone notices. */
  kill(id: string): void {
    this.birds.delete(id)
    this.#letters = this.#letters.filter(
      ({ to, event }) => to !== id && !('peer' in event && event.peer === id)
    )
    for (const other of this.birds.keys()) this.tell(other, { kind: 'peer-down', peer: id })
  }

  tell(id: string, event: Event): readonly Effect[] {
    const bird = this.birds.get(id)
    if (bird === undefined) return []
    const effects = step(bird.schedule, event, this.nowMs, this.#random)
    for (const effect of effects) this.#do(bird, effect)
    this.#watch(bird, effects)
    return effects
  }

  /** Delivers one letter; false when none is left. */
  deliver(): boolean {
    this.nowMs += STEP_MS
    const due = this.#letters.filter(({ notBeforeMs }) => notBeforeMs <= this.nowMs)
    const drawn = due[Math.floor(this.#random() * due.length)]
    if (drawn === undefined) return this.#letters.length > 0
    const pair = pairOf(drawn)
    const first = due.find(letter => pairOf(letter) === pair) ?? drawn
    this.#letters.splice(this.#letters.indexOf(first), 1)
    this.tell(first.to, first.event)
    return true
  }

  /** Delivers until the condition holds; false when it does not within so many letters. */
  until(condition: () => boolean, letters = 50_000): boolean {
    for (let count = 0; count < letters; count++) {
      if (condition()) return true
      if (!this.deliver()) return condition()
    }
    return condition()
  }

  #do(bird: Bird, effect: Effect): void {
    switch (effect.kind) {
      case 'wake':
        this.#post(bird.id, { kind: 'tick' }, effect.atMs)
        break
      case 'serve':
        this.#serve(bird, effect)
        break
      case 'complete':
        bird.complete.add(effect.blob)
        break
      case 'stop':
      case 'complain':
        break
      default:
        this.#post(effect.peer, { ...effect, peer: bird.id })
    }
  }

  #serve({ id, manner }: Bird, { peer, blob, piece }: PieceOf): void {
    if (manner === 'silent') return
    this.#post(id, { kind: 'sent', peer, blob, piece })
    this.#post(peer, { kind: 'started', peer: id, blob, piece })
    if (manner === 'corrupt') {
      this.#post(peer, { kind: 'wrong', peer: id, blob, piece })
      return
    }
    this.#post(peer, { kind: 'arrived', peer: id, blob, piece })
    const stored = this.birds.get(peer)?.stored
    stored?.set(blob, (stored.get(blob) ?? new Set()).add(piece))
  }

  #post(to: string, event: Event, notBeforeMs = 0): void {
    if (this.birds.has(to)) this.#letters.push({ to, event, notBeforeMs })
  }
}

/** A blob of pieces of 256 KiB, as an event names it. */
export function start(blob: string, pieces: number) {
  const pieceBytes = 256 * 1024
  return { blob, sizeBytes: pieces * pieceBytes, pieceBytes, pieceCount: pieces }
}

function pairOf({ to, event }: Letter): string {
  return `${'peer' in event ? event.peer : ''} ${to}`
}
