import { setTimeout as delay } from 'node:timers/promises'
import { decode, encode } from 'cborg'
import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Applied, Records } from '../records/records.ts'
import type { Inventory } from './inventory.ts'
import { announcementsOf, decodeHave, encodeHave, recordsOf } from './wire.ts'

/** Takes records and answers once they are synced. */
const TELL_PROTOCOL = 'tell/1'
/** Answers once the whole image is held, or when the time is over. */
const HOLD_PROTOCOL = 'hold/1'
/** A write has at most some hundred records of 4 KiB. */
const MAX_TELL_BYTES = 1024 * 1024
const MAX_HOLD_BYTES = 1024
/** A live member syncs a handful of records in milliseconds; a slow disk may take a second. */
const TELL_TIMEOUT_MS = 2_000
/** One question waits so long at most, so that a member that has died is soon not waited for. */
const HOLD_SLICE_MS = 2_000
/** Besides those needed, so many more are asked, so that one slow member does not decide. */
const SPARE_HOLDERS = 2
const RETRY_MS = 50
/** More images than an outage is likely to see; the metric of under-replicated ones counts all. */
const MAX_OWED = 10_000

export interface PushedImage {
  readonly repository: string
  /** None for a push by digest. */
  readonly tags: readonly string[]
  readonly digest: Digest
}

export interface AcknowledgementOptions {
  readonly mesh: Mesh
  readonly records: Records
  readonly inventory: Inventory
  /** K: on how many members a write must be before it is answered without a warning. */
  readonly copies: number | 'all'
  readonly ackWaitMs: number
  /** What to do when fewer than K members are live. */
  readonly ackShort: 'accept' | 'reject'
  readonly clock: Clock
  readonly log: Log
}

/**
 * Holds back the answer to a write until it would survive: its records and every blob it reaches
 * synced on K members, and its records known to every live one (design section 5, P1 and P2).
 */
export class Acknowledgement {
  readonly #options: AcknowledgementOptions
  readonly #owed = new Map<Digest, PushedImage>()

  constructor(options: AcknowledgementOptions) {
    this.#options = options
    const { mesh, records, inventory } = options
    mesh.handle(TELL_PROTOCOL, MAX_TELL_BYTES, async (_peer, request) => {
      await records.apply(recordsOf(request))
      return encode(true)
    })
    mesh.handle(HOLD_PROTOCOL, MAX_HOLD_BYTES, async (_peer, request, left) => {
      const [manifest] = decodeHave(request)
      const time = AbortSignal.any([left, AbortSignal.timeout(HOLD_SLICE_MS)])
      return encode(manifest !== undefined && (await inventory.whenHeld(manifest, time)))
    })
  }

  /**
   * Settles when every live member has synced the records of a write.
   *
   * @returns in words, who has not confirmed in time
   */
  async told(applied: readonly Applied[]): Promise<readonly string[]> {
    const silent = await this.#tell(applied)
    if (silent.length === 0) return []
    return [`not yet confirmed by ${silent.length} live members: ${names(silent)}`]
  }

  /**
   * Settles when an image is whole, and synced, on K members.
   *
   * @returns in words, how many copies are still owed because too few members can take one now
   * @throws `UNAVAILABLE` while live members are still copying after `ackWaitMs`, and when too few
   *   are live and writes are to be rejected then
   */
  async copied(image: PushedImage, signal: AbortSignal): Promise<readonly string[]> {
    const wanted = this.wantedCopies()
    const got = await this.#copied(image.digest, wanted, signal)
    if (got >= wanted) return []
    const words = this.#short(got, wanted)
    if (this.#owed.size < MAX_OWED) this.#owed.set(image.digest, image)
    return [words]
  }

  /** The images that were acknowledged with fewer copies than asked for, and may still lack some. */
  owed(): IterableIterator<PushedImage> {
    return this.#owed.values()
  }

  /** The image has its copies now. */
  redeem(manifest: Digest): void {
    this.#owed.delete(manifest)
  }

  /** K' of design section 1: K, but no more than there are members that should hold everything. */
  wantedCopies(): number {
    const { copies, mesh } = this.#options
    const others = mesh.peers().filter(({ state, hold }) => state !== 'gone' && hold === 'all')
    const members = others.length + 1
    return copies === 'all' ? members : Math.min(copies, members)
  }

  /** Gives the records to every live member; those that did not sync them in time are returned. */
  async #tell(applied: readonly Applied[]): Promise<readonly PeerView[]> {
    const { mesh } = this.#options
    const records = applied.map(({ bytes }) => bytes)
    if (records.length === 0) return []
    const messages = [...announcementsOf(records, MAX_TELL_BYTES / 2)]
    const silent: PeerView[] = []
    const live = mesh.peers().filter(({ state }) => state === 'live')
    await Promise.all(
      live.map(async peer => {
        const signal = AbortSignal.timeout(TELL_TIMEOUT_MS)
        try {
          for (const message of messages) {
            await mesh.request(peer.id, TELL_PROTOCOL, message, {
              signal,
              maxBytes: MAX_HOLD_BYTES
            })
          }
        } catch {
          if (mesh.peer(peer.id)?.state === 'live') silent.push(peer)
        }
      })
    )
    return silent
  }

  /** How many members, this one included, hold the image; waits while more of the live ones may. */
  async #copied(manifest: Digest, wanted: number, signal: AbortSignal): Promise<number> {
    const { clock, ackWaitMs } = this.#options
    const deadline = clock.monotonic() + ackWaitMs
    const holders = new Set<string>()
    while (holders.size + 1 < wanted) {
      signal.throwIfAborted()
      const candidates = this.#candidates().filter(({ id }) => !holders.has(id))
      if (candidates.length === 0) break
      if (clock.monotonic() >= deadline)
        throw this.#stillCopying(candidates, holders.size + 1, wanted)
      const asked = candidates.slice(0, wanted - 1 - holders.size + SPARE_HOLDERS)
      await this.#askUntil(asked, manifest, holders, wanted - 1, signal)
    }
    return holders.size + 1
  }

  /** Asks some members at once, and returns as soon as enough of them hold the image. */
  async #askUntil(
    asked: readonly PeerView[],
    manifest: Digest,
    holders: Set<string>,
    enough: number,
    signal: AbortSignal
  ): Promise<void> {
    const round = new AbortController()
    const either = AbortSignal.any([signal, round.signal])
    await Promise.all(
      asked.map(async ({ id }) => {
        if (!(await this.#holds(id, manifest, either))) return
        holders.add(id)
        if (holders.size >= enough) round.abort()
      })
    )
  }

  async #holds(peer: string, manifest: Digest, signal: AbortSignal): Promise<boolean> {
    const { mesh } = this.#options
    const time = AbortSignal.any([signal, AbortSignal.timeout(2 * HOLD_SLICE_MS)])
    try {
      const answer = await mesh.request(peer, HOLD_PROTOCOL, encodeHave([manifest]), {
        signal: time,
        maxBytes: MAX_HOLD_BYTES
      })
      return decode(answer) === true
    } catch {
      // Gone, or about to be: whether it still counts is for the membership to say.
      await delay(RETRY_MS, undefined, { signal }).catch(() => undefined)
      return false
    }
  }

  /** The live members that can take a copy. */
  #candidates(): readonly PeerView[] {
    return this.#options.mesh
      .peers()
      .filter(
        ({ state, hold, beat }) => state === 'live' && hold === 'all' && beat?.disk !== 'full'
      )
  }

  #stillCopying(left: readonly PeerView[], got: number, wanted: number): StarlingError {
    return new StarlingError(
      'UNAVAILABLE',
      `stored on ${got} of ${wanted} nodes; still being copied to ${names(left)}: push again to wait on`,
      { retryAfterSeconds: 1 }
    )
  }

  #short(got: number, wanted: number): string {
    const { ackShort, log } = this.#options
    const words = `stored on ${got} of ${wanted} nodes, because no more can take it now`
    log.warn({ copies: got, wanted }, 'write acknowledged short')
    if (ackShort === 'accept') return words
    throw new StarlingError('UNAVAILABLE', words, { retryAfterSeconds: 5 })
  }
}

function names(peers: readonly PeerView[]): string {
  const shown = peers.slice(0, 3).map(({ name }) => name)
  return peers.length > shown.length
    ? `${shown.join(', ')} and ${peers.length - shown.length} more`
    : shown.join(', ')
}
