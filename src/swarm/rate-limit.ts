import type { Clock } from '../clock.ts'
import type { Urgency } from './schedule/messages.ts'

/** The limits of a node, on all that goes between it and other nodes as blobs or pieces. */
export interface RateLimits {
  readonly egress: RateLimit
  readonly ingress: RateLimit
}

export interface RateLimitsOptions extends Omit<RateLimitOptions, 'bytesPerSecond' | 'onWaited'> {
  /** Bytes per second; 0 for no limit. */
  readonly maxEgress: number
  readonly maxIngress: number
  readonly onWaited: (direction: keyof RateLimits, seconds: number) => void
}

export function rateLimits(options: RateLimitsOptions): RateLimits {
  const { maxEgress, maxIngress, backgroundShare, clock } = options
  const limit = (direction: keyof RateLimits, bytesPerSecond: number) => {
    const onWaited = (seconds: number) => options.onWaited(direction, seconds)
    return new RateLimit({ bytesPerSecond, backgroundShare, clock, onWaited })
  }
  return { egress: limit('egress', maxEgress), ingress: limit('ingress', maxIngress) }
}

export interface RateLimitOptions {
  /** 0 for no limit. */
  readonly bytesPerSecond: number
  /** Of the limit, what may go to bytes that no client waits for, while one waits for others. */
  readonly backgroundShare: number
  readonly clock: Clock
  /** Told how long bytes have waited. */
  readonly onWaited?: (seconds: number) => void
}

/** What was not used is kept for so long, so that a late timer costs nothing and a rest no burst. */
const MAX_CREDIT_MS = 50

/** A client waits as long as bytes for one have passed within this time. */
const AWAITED_MS = 1_000

/**
 * Bytes per second, over all transfers of one direction. While there are bytes that a client waits
 * for, the others get their share and no more. Whoever waits is bounded by the
 * transfers there are: each has one portion here at a time.
 */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #awaited: Portion[] = []
  readonly #background: Portion[] = []
  /** When the bytes that passed have had their time. */
  #paidUntilMs = Number.NEGATIVE_INFINITY
  /** The same, of the background at its share. */
  #sharePaidUntilMs = Number.NEGATIVE_INFINITY
  #lastAwaitedMs = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(options: RateLimitOptions) {
    this.#options = options
  }

  get isUnlimited(): boolean {
    return this.#options.bytesPerSecond === 0
  }

  /** Resolves when so many bytes may pass; `undefined` when they may at once. */
  take(bytes: number, urgency: Urgency): Promise<void> | undefined {
    if (this.isUnlimited) return undefined
    const sinceMs = this.#options.clock.monotonic()
    const { promise, resolve } = Promise.withResolvers<void>()
    const isAwaited = urgency === 'awaited'
    const queue = isAwaited ? this.#awaited : this.#background
    queue.push({ bytes, sinceMs, resolve })
    this.#pass()
    return promise
  }

  /** Lets pass what may by now, and comes back when more may. */
  #pass(): void {
    const nowMs = this.#options.clock.monotonic()
    clearTimeout(this.#timer)
    for (;;) {
      const dueMs = this.#dueMs(nowMs)
      if (dueMs === undefined) return
      if (dueMs > nowMs) {
        this.#timer = setTimeout(() => this.#pass(), Math.ceil(dueMs - nowMs)).unref()
        return
      }
      this.#passNext(nowMs)
    }
  }

  /** When the next portion may pass; `undefined` when nobody waits. */
  #dueMs(nowMs: number): number | undefined {
    if (this.#awaited.length > 0) return this.#paidUntilMs
    if (this.#background.length === 0) return undefined
    return this.#isShared(nowMs)
      ? Math.max(this.#paidUntilMs, this.#sharePaidUntilMs)
      : this.#paidUntilMs
  }

  #passNext(nowMs: number): void {
    const { bytesPerSecond, backgroundShare, onWaited } = this.#options
    const isOwed = this.#background.length > 0 && this.#sharePaidUntilMs <= nowMs
    const awaited = isOwed ? undefined : this.#awaited.shift()
    const portion = awaited ?? this.#background.shift()
    if (portion === undefined) return
    const earliestMs = nowMs - MAX_CREDIT_MS
    const tookMs = (portion.bytes / bytesPerSecond) * 1_000
    this.#paidUntilMs = Math.max(this.#paidUntilMs, earliestMs) + tookMs
    if (awaited !== undefined) this.#lastAwaitedMs = nowMs
    else if (this.#isShared(nowMs)) {
      const shareMs = tookMs / backgroundShare
      this.#sharePaidUntilMs = Math.max(this.#sharePaidUntilMs, earliestMs) + shareMs
    }
    if (nowMs > portion.sinceMs) onWaited?.((nowMs - portion.sinceMs) / 1_000)
    portion.resolve()
  }

  #isShared(nowMs: number): boolean {
    return this.#awaited.length > 0 || nowMs - this.#lastAwaitedMs < AWAITED_MS
  }
}

interface Portion {
  readonly bytes: number
  readonly sinceMs: number
  readonly resolve: () => void
}
