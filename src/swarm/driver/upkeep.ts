import type { Clock } from '../../clock.ts'
import type { Swarm } from '../schedule/swarm.ts'
import type { Part } from './part.ts'
import { isProvisional, type Parts } from './parts.ts'
import type { PieceStore } from './ports.ts'
import type { Talk } from './talk.ts'

const LOOK_MS = 500

/** A part that is of no use to anyone ends, and so does a push elsewhere that stands still. */
const IDLE_MS = 60_000

/** When no neighbour has a piece that is lacking here, others may be asked soon. */
const NOBODY_MS = 3_000

/** When those who have one give none for so long, there must be another way. */
const STALLED_MS = 90_000

/** How often an origin is told how far a receiver has come, at most. */
const PROGRESS_MS = 200

export interface UpkeepOptions {
  readonly parts: Parts
  readonly talk: Talk
  readonly store: PieceStore
  readonly swarm: (key: string) => Swarm | undefined
  readonly peers: () => Iterable<string>
  readonly isLive: (peer: string) => boolean
  readonly clock: Pick<Clock, 'monotonic'>
}

/** Ends what does not get on. */
export class Upkeep {
  readonly #options: UpkeepOptions
  readonly #timer: NodeJS.Timeout

  constructor(options: UpkeepOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref()
  }

  /** Looks at every part; called by a timer of our own. */
  look(): void {
    const { parts } = this.#options
    for (const part of parts.all()) {
      if (part.state === 'whole') this.#lookAtWhole(part)
      else if (isProvisional(part)) {
        this.tellProgress(part)
        this.#lookAtProvisional(part)
      } else if (part.state === 'open' && part.source.kind === 'file') this.#lookAtFetch(part)
    }
  }

  /** A push is held back by how far its receivers have come, of which its origin sees little. */
  tellProgress(part: Part): void {
    const { talk, clock } = this.#options
    const { origin, key, doneBytes: bytes, told } = part
    const atMs = clock.monotonic()
    if (origin === undefined || bytes === told.bytes || atMs - told.atMs < PROGRESS_MS) return
    part.told = { bytes, atMs }
    talk.progress(origin, key, bytes)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #lookAtWhole(part: Part): void {
    const { parts } = this.#options
    if (this.#idleMs(part) < IDLE_MS) return
    this.#leave(part)
    parts.end(part, { kind: 'held' })
  }

  /** What nobody has asked for yet goes when the push goes, and when the disk is full. */
  #lookAtProvisional(part: Part): void {
    const { parts, store, isLive } = this.#options
    const isThere = part.origin !== undefined && isLive(part.origin)
    if (isThere && store.hasRoom() && this.#idleMs(part) < IDLE_MS) return
    this.#leave(part)
    parts.end(part, { kind: 'given-up', why: 'dropped' })
  }

  #lookAtFetch(part: Part): void {
    const { parts, swarm, clock } = this.#options
    const idleMs = this.#idleMs(part)
    if (idleMs < NOBODY_MS) return
    const isGiven = canGive(swarm(part.key), clock.monotonic())
    if (isGiven && idleMs < STALLED_MS) return
    this.#leave(part)
    parts.end(part, { kind: 'given-up', why: isGiven ? 'stalled' : 'nobody' })
  }

  #leave({ key }: Part): void {
    const { talk, peers } = this.#options
    for (const peer of peers()) talk.leave(peer, key)
  }

  #idleMs(part: Part): number {
    return this.#options.clock.monotonic() - part.usedMs
  }
}

/** Whether some neighbour that is not put aside for wrong pieces has one that is lacking here. */
function canGive(swarm: Swarm | undefined, nowMs: number): boolean {
  if (swarm === undefined) return false
  for (const { peer, have } of swarm.links.values()) {
    if (peer.standing.kind === 'wrong' && peer.standing.untilMs > nowMs) continue
    for (const piece of have) if (!swarm.held.has(piece)) return true
  }
  return false
}
