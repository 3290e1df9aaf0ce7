import type { Random } from '../clock.ts'
import type { Digest } from '../digest.ts'
import type { Applied, Records } from '../records/records.ts'
import type { LeaseValue } from '../records/values.ts'

/** A lease that this process wrote is not written again before this share of its time is over. */
const FRESH_SHARE = 1 / 4
/** Those who did not write a lease leave it to the writer to take it back, for this share of its time. */
const RELEASE_SHARE = 1 / 4

export interface LeaseName {
  readonly repository: string
  readonly digest: Digest
}

interface Lease {
  readonly heardMs: number
  readonly ttlMs: number
  /** Written by this process, so that nobody can have heard of it before. */
  readonly own: boolean
  /** When the record may be taken back, which all others then hear. */
  readonly releaseAtMs: number
  over: boolean
}

export interface LeasesOptions {
  readonly records: Pick<Records, 'leases' | 'onApplied'>
  /** How long a lease that is written here lasts. */
  readonly ttlMs: number
  /** The running time, which alone ends leases: no wall clock is believed. */
  readonly nowMs: () => number
  readonly random: Random
}

/**
 * How long each lease still lasts. It counts from when this process heard of it, so that a start
 * grants all of them their whole time again.
 */
export class Leases {
  readonly ttlMs: number
  readonly #options: LeasesOptions
  readonly #leases = new Map<Digest, Map<string, Lease>>()
  readonly #unsubscribe: () => void

  static async open(options: LeasesOptions): Promise<Leases> {
    const leases = new Leases(options)
    for await (const lease of options.records.leases()) {
      if (leases.#get(lease) === undefined) leases.#grant(lease, false)
    }
    return leases
  }

  private constructor(options: LeasesOptions) {
    this.#options = options
    this.ttlMs = options.ttlMs
    this.#unsubscribe = options.records.onApplied(applied => {
      for (const each of applied) this.#apply(each)
    })
  }

  /** Whether this process wrote the lease so lately that writing it again would change little. */
  isFresh(name: LeaseName): boolean {
    const lease = this.#get(name)
    if (lease === undefined || lease.over || !lease.own) return false
    return this.#options.nowMs() - lease.heardMs < lease.ttlMs * FRESH_SHARE
  }

  /** For how long the blob is leased still, in whatever repository; `undefined` when it is not. */
  leftMs(digest: Digest): number | undefined {
    const nowMs = this.#options.nowMs()
    const left = [...(this.#leases.get(digest)?.values() ?? [])]
      .filter(({ over }) => !over)
      .map(({ heardMs, ttlMs }) => Math.max(0, heardMs + ttlMs - nowMs))
    return left.length === 0 ? undefined : Math.max(...left)
  }

  /**
   * Ends the leases whose time is over, and gives them, each once. With `onlyIn` those of all other
   * repositories end too.
   */
  takeExpired(onlyIn?: ReadonlySet<string>): LeaseName[] {
    const nowMs = this.#options.nowMs()
    const expired: LeaseName[] = []
    for (const [name, lease] of this.#all()) {
      if (lease.over) continue
      const isSpared = onlyIn === undefined || onlyIn.has(name.repository)
      if (isSpared && nowMs - lease.heardMs < lease.ttlMs) continue
      lease.over = true
      expired.push(name)
    }
    return expired
  }

  /** Leases that are over, and whose records are to be taken back by now. */
  releasable(): LeaseName[] {
    const nowMs = this.#options.nowMs()
    return this.#all()
      .filter(([, { over, releaseAtMs }]) => over && releaseAtMs <= nowMs)
      .map(([name]) => name)
      .toArray()
  }

  close(): void {
    this.#unsubscribe()
  }

  #apply({ value, before, local }: Applied): void {
    if (value?.kind === 'lease') this.#grant(value, local)
    else if (before?.kind === 'lease') this.#end(before)
  }

  #grant({ repository, digest, ttlMs }: LeaseValue, own: boolean): void {
    const heardMs = this.#options.nowMs()
    // Each node waits another while, so that one of them spares the rest the work.
    const delayMs = own ? 0 : ttlMs * RELEASE_SHARE * (1 + this.#options.random())
    const releaseAtMs = heardMs + ttlMs + delayMs
    const leases = this.#leases.get(digest) ?? new Map<string, Lease>()
    leases.set(repository, { heardMs, ttlMs, own, releaseAtMs, over: false })
    this.#leases.set(digest, leases)
  }

  #end({ repository, digest }: LeaseName): void {
    const leases = this.#leases.get(digest)
    if (leases?.delete(repository) && leases.size === 0) this.#leases.delete(digest)
  }

  #get({ repository, digest }: LeaseName): Lease | undefined {
    return this.#leases.get(digest)?.get(repository)
  }

  *#all(): Generator<readonly [LeaseName, Lease], void> {
    for (const [digest, leases] of this.#leases) {
      for (const [repository, lease] of leases) yield [{ repository, digest }, lease]
    }
  }
}
