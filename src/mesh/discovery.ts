import { lookup } from 'node:dns/promises'
import type { Clock, Random } from '../clock.ts'
import { isCode } from '../errors.ts'
import type { Log } from '../log.ts'
import { type Address, formatAddress, isIp, parseAddress, tryAddress } from './address.ts'
import type { Join } from './join.ts'

/** What came of dialling one IP address and port. */
export type DialOutcome =
  | { readonly kind: 'peer'; readonly id: string }
  | { readonly kind: 'self' }
  | { readonly kind: 'failed'; readonly error: unknown }

/** All addresses of a host name. */
export type Resolve = (name: string) => Promise<readonly string[]>

export interface DiscoveryOptions {
  readonly joins: readonly Join[]
  /** Addresses, `host:port`, of members that should be connected and are not. */
  readonly wanted: () => readonly string[]
  /** Where connected peers are known to listen, `host:port`. */
  readonly reached: () => ReadonlySet<string>
  readonly isConnected: (id: string) => boolean
  /** Dials an IP; must end by itself within some seconds. */
  readonly dial: (address: Address) => Promise<DialOutcome>
  readonly resolve?: Resolve
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

export interface DiscoveryState {
  /** Whether anything is to be joined at all. */
  readonly configured: boolean
  /** Whether every configured source has answered, and with nobody but this node. */
  readonly answered: boolean
  /** Addresses that were reached and did not let this node in, each until it does. */
  readonly refusedBy: readonly RefusedDial[]
}

export interface RefusedDial {
  /** `host:port`. */
  readonly address: string
  /** In words. */
  readonly reason: string
}

/** How often it is looked whom to dial. */
const TURN_MS = 250

/** Between two dials of one address: doubles from the first to the last, each time shortened by up to a third. */
const MIN_RETRY_MS = 500
const MAX_RETRY_MS = 3_000

/** An address found to be our own is tried again after this: another node may have got it by then. */
const SELF_RETRY_MS = 60_000

/** Dials and look-ups under way at a time; the rest waits for its turn. */
const MAX_DIALS = 32

/** Addresses heard by multicast; anyone on the network segment can say some. */
const MAX_HEARD = 256

/** Addresses taken of one name: a headless service of a large cluster has as many. */
const MAX_RESOLVED = 1_024

type Attempt =
  | { readonly kind: 'dialling'; readonly wasSelf: boolean }
  | { readonly kind: 'reached'; readonly id: string; readonly untilMs: number }
  | { readonly kind: 'self'; readonly untilMs: number }
  | { readonly kind: 'failed'; readonly retryMs: number; readonly untilMs: number }

type Resolution =
  | { readonly kind: 'resolving'; readonly hosts: readonly string[] | undefined }
  | {
      readonly kind: 'done'
      readonly hosts: readonly string[] | undefined
      readonly untilMs: number
    }

/**
 * The dial loop. It dials the joined addresses and those of known members, for ever, at most
 * {@link MAX_RETRY_MS} apart and with jitter; libp2p itself dials nothing it discovers.
 */
export class Discovery {
  readonly #options: DiscoveryOptions
  readonly #resolve: Resolve
  readonly #attempts = new Map<string, Attempt>()
  /** Why an address last refused us, in words. */
  readonly #refusals = new Map<string, string>()
  readonly #resolutions = new Map<string, Resolution>()
  readonly #heard = new Set<string>()
  readonly #running = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: DiscoveryOptions) {
    this.#options = options
    this.#resolve = options.resolve ?? resolveAll
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#turn(), TURN_MS)
    this.#turn()
  }

  /** Looks at once whom to dial, for instance because a member became known. */
  hurry(): void {
    if (this.#timer !== undefined) this.#turn()
  }

  /** Multicast told of somebody at this `host:port`. */
  hear(address: string): void {
    this.#heard.delete(address)
    this.#heard.add(address)
    for (const oldest of this.#heard) {
      if (this.#heard.size <= MAX_HEARD) break
      this.#heard.delete(oldest)
    }
  }

  state(): DiscoveryState {
    const { joins } = this.#options
    return {
      configured: joins.length > 0,
      answered: joins.length > 0 && joins.every(join => this.#answeredWithUs(join)),
      refusedBy: this.#refusedBy()
    }
  }

  /** Ends the loop and waits for the dials under way; abort those by closing the node. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await Promise.allSettled(this.#running)
  }

  #turn(): void {
    const now = this.#options.clock.monotonic()
    const addresses = new Set<string>()
    for (const join of this.#options.joins) {
      if (join.kind === 'mdns') for (const address of this.#heard) addresses.add(address)
      else for (const address of this.#expand(join.address, now)) addresses.add(address)
    }
    for (const wanted of this.#options.wanted()) {
      // Records come from others; an address that cannot be read is not dialled.
      const parsed = tryAddress(wanted)
      if (parsed === undefined) continue
      for (const address of this.#expand(parsed, now)) addresses.add(address)
    }
    for (const known of this.#attempts.keys()) {
      if (addresses.has(known)) continue
      this.#attempts.delete(known)
      this.#refusals.delete(known)
    }
    const reached = this.#options.reached()
    for (const address of addresses) {
      if (this.#running.size >= MAX_DIALS) break
      if (!reached.has(address) && this.#isDue(address, now)) this.#run(this.#dial(address))
    }
  }

  /** The IP addresses behind an address: itself, or what its name resolved to last. */
  #expand({ host, port }: Address, now: number): readonly string[] {
    if (isIp(host)) return [formatAddress({ host, port })]
    const resolution = this.#resolutions.get(host)
    if (resolution === undefined || (resolution.kind === 'done' && resolution.untilMs <= now)) {
      this.#resolutions.set(host, { kind: 'resolving', hosts: resolution?.hosts })
      this.#run(this.#resolveName(host))
    }
    const hosts = resolution?.hosts ?? []
    return hosts.slice(0, MAX_RESOLVED).map(ip => formatAddress({ host: ip, port }))
  }

  #isDue(address: string, now: number): boolean {
    const attempt = this.#attempts.get(address)
    if (attempt === undefined) return true
    switch (attempt.kind) {
      case 'dialling':
        return false
      case 'reached':
        return attempt.untilMs <= now && !this.#options.isConnected(attempt.id)
      default:
        return attempt.untilMs <= now
    }
  }

  async #dial(address: string): Promise<void> {
    const before = this.#attempts.get(address)
    this.#attempts.set(address, { kind: 'dialling', wasSelf: before?.kind === 'self' })
    const outcome = await this.#options.dial(parseAddress(address))
    const now = this.#options.clock.monotonic()
    if (outcome.kind !== 'failed') this.#refusals.delete(address)
    if (outcome.kind === 'peer') {
      // A peer that cuts us at once, again and again, is not to be dialled in a tight loop.
      const untilMs = now + this.#jittered(MIN_RETRY_MS)
      this.#attempts.set(address, { kind: 'reached', id: outcome.id, untilMs })
    } else if (outcome.kind === 'self') {
      this.#attempts.set(address, { kind: 'self', untilMs: now + SELF_RETRY_MS })
    } else {
      const last = before?.kind === 'failed' ? before.retryMs : MIN_RETRY_MS / 2
      const retryMs = Math.min(MAX_RETRY_MS, last * 2)
      const untilMs = now + this.#jittered(retryMs)
      this.#attempts.set(address, { kind: 'failed', retryMs, untilMs })
      if (isCode(outcome.error, 'PEER_REFUSED')) {
        this.#refusals.set(address, outcome.error.message)
      } else {
        this.#options.log.debug({ address, err: outcome.error }, 'dial failed')
      }
    }
  }

  /** Whoever dialled us from there since has let us in. */
  #refusedBy(): readonly RefusedDial[] {
    const reached = this.#options.reached()
    return [...this.#refusals]
      .filter(([address]) => !reached.has(address))
      .map(([address, reason]) => ({ address, reason }))
  }

  async #resolveName(name: string): Promise<void> {
    let hosts: readonly string[] | undefined
    try {
      hosts = await this.#resolve(name)
    } catch (error) {
      this.#options.log.debug({ name, err: error }, 'name not resolved')
    }
    const untilMs = this.#options.clock.monotonic() + this.#jittered(MAX_RETRY_MS)
    this.#resolutions.set(name, { kind: 'done', hosts, untilMs })
    this.hurry()
  }

  #answeredWithUs(join: Join): boolean {
    // Multicast has no answer that means "nobody".
    if (join.kind === 'mdns') return false
    const { host, port } = join.address
    const hosts = isIp(host) ? [host] : (this.#resolutions.get(host)?.hosts ?? [])
    return hosts.length > 0 && hosts.every(ip => this.#isSelf(formatAddress({ host: ip, port })))
  }

  /** Also while it is looked at again. */
  #isSelf(address: string): boolean {
    const attempt = this.#attempts.get(address)
    return attempt?.kind === 'self' || (attempt?.kind === 'dialling' && attempt.wasSelf)
  }

  #jittered(ms: number): number {
    return ms * (1 - this.#options.random() / 3)
  }

  #run(work: Promise<void>): void {
    const running = work.finally(() => this.#running.delete(running))
    this.#running.add(running)
  }
}

async function resolveAll(name: string): Promise<readonly string[]> {
  const found = await lookup(name, { all: true })
  return found.map(({ address }) => address)
}
