import type { Clock } from '../clock.ts'
import { withDeadline } from '../deadline.ts'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Hold } from '../mesh/member.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Applied, Records } from '../records/records.ts'
import { HOLD_SLICE_MS, type Hold as HoldQuestion } from './hold.ts'
import type { Inventory } from './inventory.ts'
import type { Owed, PushedImage } from './owed.ts'
import { Teller } from './teller.ts'
import { unavailable } from './unavailable.ts'

/** Besides those needed, so many more are asked, so that one slow member does not decide. */
const SPARE_HOLDERS = 2

export interface AcknowledgementOptions {
  readonly mesh: Mesh
  readonly records: Records
  readonly inventory: Pick<Inventory, 'graph' | 'holdsAll' | 'whenHeld'>
  readonly question: Pick<HoldQuestion, 'ask'>
  /** Takes what was acknowledged short. */
  readonly owed: Pick<Owed, 'add'>
  /** K: on how many members a write must be before it is answered without a warning. */
  readonly copies: number | 'all'
  /** Whether this node is one that holds everything. */
  readonly hold: Hold
  readonly ackWaitMs: number
  readonly deadAfterMs: number
  /** What to do when fewer than K members are live. */
  readonly ackShort: 'accept' | 'reject'
  /** Whether this node has room for what it lacks of an image. */
  readonly canHold: (manifest: Digest) => boolean
  readonly clock: Clock
  readonly log: Log
}

/**
 * Holds back the answer to a write until it would survive: its records and every blob it reaches
 * synced on K members, and its records known to every live one (design section 5, P1 and P2).
 */
export class Acknowledgement {
  readonly #options: AcknowledgementOptions
  readonly #teller: Teller

  constructor(options: AcknowledgementOptions) {
    this.#options = options
    const { mesh, records, clock, log } = options
    this.#teller = new Teller({ mesh, records, deadAfterMs: options.deadAfterMs, clock, log })
  }

  /**
   * Settles when a write of records alone is known to every live member, and to K of all.
   *
   * @returns in words, what of that is still owed
   * @throws `UNAVAILABLE` when fewer than K are live and writes are to be rejected then
   */
  async known(applied: readonly Applied[]): Promise<readonly string[]> {
    if (applied.length === 0) return []
    const wanted = this.wantedCopies()
    const { confirmed, silent } = await this.#teller.tell(applied)
    const got = confirmed + 1
    const short = got < wanted ? [this.#short(got, wanted)] : this.#unmet(got)
    return [...notConfirmedBy(silent), ...short]
  }

  /**
   * Settles when a pushed image is whole, and synced, on K members, and known to every live one.
   *
   * @returns in words, what of that is still owed because too few members can take a copy now, or
   *   one did not confirm in time
   * @throws `UNAVAILABLE` while live members are still copying after `ackWaitMs`, when too few
   *   are live and writes are to be rejected then, and when nobody holds the image any more
   */
  async pushed(
    applied: readonly Applied[],
    image: PushedImage,
    signal: AbortSignal
  ): Promise<readonly string[]> {
    const wanted = this.wantedCopies()
    const [{ confirmed, silent }, copies] = await Promise.all([
      this.#teller.tell(applied),
      this.#copied(image.digest, wanted, signal)
    ])
    if (copies === 0) throw unavailable('no node that can be reached holds all of the image')
    const got = Math.min(copies, confirmed + 1)
    const short = got < wanted ? [this.#short(got, wanted)] : this.#unmet(got)
    if (short.length > 0) this.#options.owed.add(image)
    return [...notConfirmedBy(silent), ...short]
  }

  /** K' of design section 1: K, but no more than there are members that should hold everything. */
  wantedCopies(): number {
    const { copies, mesh, hold } = this.#options
    const others = mesh.peers().filter(peer => peer.state !== 'gone' && peer.hold === 'all')
    const holders = others.length + (hold === 'all' ? 1 : 0)
    return copies === 'all' ? holders : Math.min(copies, holders)
  }

  /**
   * How many copies an image is owed: K', but K for a node that is to join others and has met nobody
   * yet. It takes itself for the whole cluster only because it waited long enough.
   */
  owedCopies(): number {
    const { copies, mesh } = this.#options
    const { configured, answered } = mesh.discovery()
    const hasMetNobody = configured && !answered && mesh.peers().length === 0
    if (!hasMetNobody) return this.wantedCopies()
    return copies === 'all' ? 2 : copies
  }

  /**
   * How many members hold the image; waits while more of the live ones may. This one counts as any
   * other does: what was pushed to another node, or found no room here, it may not hold itself.
   */
  async #copied(manifest: Digest, wanted: number, signal: AbortSignal): Promise<number> {
    const { clock, ackWaitMs, inventory } = this.#options
    const deadline = clock.monotonic() + ackWaitMs
    const holders = new Set<string>()
    const timesAsked = new Map<string, number>()
    const count = () => holders.size + (inventory.holdsAll(manifest) ? 1 : 0)
    while (count() < wanted) {
      signal.throwIfAborted()
      const candidates = this.#candidates(this.#sizeOf(manifest))
        .filter(({ id }) => !holders.has(id))
        .sort((a, b) => (timesAsked.get(a.id) ?? 0) - (timesAsked.get(b.id) ?? 0))
      if (candidates.length === 0 && !this.#isComing(manifest)) break
      if (clock.monotonic() >= deadline) throw this.#stillCopying(candidates, count(), wanted)
      const asked = candidates.slice(0, wanted - count() + SPARE_HOLDERS)
      for (const { id } of asked) timesAsked.set(id, (timesAsked.get(id) ?? 0) + 1)
      await this.#askUntil(() => count() >= wanted, asked, manifest, holders, signal)
    }
    return count()
  }

  /** Whether this node is still to hold the image, and can. */
  #isComing(manifest: Digest): boolean {
    const { inventory, canHold } = this.#options
    return !inventory.holdsAll(manifest) && canHold(manifest)
  }

  #sizeOf(manifest: Digest): number {
    const { graph } = this.#options.inventory
    let bytes = 0
    for (const digest of graph.reach(manifest)) bytes += graph.sizeBytes(digest) ?? 0
    return bytes
  }

  /**
   * Asks some members at once, and waits for this one where it is still to hold the image; returns
   * as soon as enough of them do.
   */
  async #askUntil(
    isEnough: () => boolean,
    asked: readonly PeerView[],
    manifest: Digest,
    holders: Set<string>,
    signal: AbortSignal
  ): Promise<void> {
    const round = new AbortController()
    const either = AbortSignal.any([signal, round.signal])
    const look = () => {
      if (isEnough()) round.abort()
    }
    const there = asked.map(async ({ id }) => {
      if (!(await this.#options.question.ask(id, manifest, either))) return
      holders.add(id)
      look()
    })
    const time = withDeadline(HOLD_SLICE_MS, either)
    const here = this.#isComing(manifest)
      ? this.#options.inventory.whenHeld(manifest, time).then(look)
      : undefined
    await Promise.all([...there, here])
  }

  /** The live members that can take a copy, those that have the least to fetch before it first. */
  #candidates(sizeBytes: number): PeerView[] {
    return (
      this.#options.mesh
        .peers()
        .filter(({ state, hold }) => state === 'live' && hold === 'all')
        // One that lacks room for something else may have enough for this.
        .filter(({ beat }) => {
          return beat === undefined || beat.disk === 'ok' || (beat.freeBytes ?? -1) >= sizeBytes
        })
        .sort((a, b) => (a.beat?.missingCount ?? 0) - (b.beat?.missingCount ?? 0))
    )
  }

  #stillCopying(left: readonly PeerView[], got: number, wanted: number): StarlingError {
    return new StarlingError(
      'UNAVAILABLE',
      `stored on ${got} of ${wanted} nodes; still being copied to ${left.length > 0 ? names(left) : 'this one'}: push again to wait on`,
      { retryAfterSeconds: 1 }
    )
  }

  /** In words, that a node which is the whole cluster as far as it knows was told of others. */
  #unmet(got: number): string[] {
    const owed = this.owedCopies()
    if (got >= owed) return []
    this.#options.log.warn(
      { copies: got, wanted: owed },
      'write acknowledged by a node that has met no other'
    )
    return [
      `stored on ${got} of ${owed} nodes, because this one has reached none of those it is to join`
    ]
  }

  #short(got: number, wanted: number): string {
    const { ackShort, log } = this.#options
    const words = `stored on ${got} of ${wanted} nodes, because no more can take it now`
    log.warn({ copies: got, wanted }, 'write acknowledged short')
    if (ackShort === 'accept') return words
    throw new StarlingError('UNAVAILABLE', words, { retryAfterSeconds: 5 })
  }
}

function notConfirmedBy(silent: readonly PeerView[]): string[] {
  if (silent.length === 0) return []
  return [`not yet confirmed by ${silent.length} live members: ${names(silent)}`]
}

function names(peers: readonly PeerView[]): string {
  const shown = peers.slice(0, 3).map(({ name }) => name)
  return peers.length > shown.length
    ? `${shown.join(', ')} and ${peers.length - shown.length} more`
    : shown.join(', ')
}
