import { setTimeout as delay } from 'node:timers/promises'
import { encode } from 'cborg'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Applied, Records } from '../records/records.ts'
import { announcementsOf, recordsOf } from './wire.ts'

/** Takes records and answers once they are synced. */
const TELL_PROTOCOL = 'tell/1'
const MAX_TELL_BYTES = 1024 * 1024
const MAX_ANSWER_BYTES = 1024
/** Whoever hangs has stopped counting as live by then, so that it costs the answer no warning. */
const TELL_SPARE_MS = 1_000
const RETRY_MS = 50

/** Who has synced some records, and which live members have not said so in time. */
export interface Told {
  readonly confirmed: number
  readonly silent: readonly PeerView[]
}

interface Batch {
  readonly records: Uint8Array[]
  readonly done: Promise<boolean>
}

/** Gives records to every live member and waits until they are synced there. */
export class Teller {
  readonly #mesh: Mesh
  readonly #deadAfterMs: number
  readonly #clock: Clock
  readonly #log: Log
  /** What waits for the request under way to a peer; the next one takes it all along. */
  readonly #waiting = new Map<string, Batch>()
  readonly #running = new Map<string, Promise<unknown>>()
  /** Those who did not confirm last time: nobody waits as long for them again until they do. */
  readonly #silent = new Set<string>()

  constructor(options: {
    readonly mesh: Mesh
    readonly records: Records
    readonly deadAfterMs: number
    readonly clock: Clock
    readonly log: Log
  }) {
    this.#mesh = options.mesh
    this.#deadAfterMs = options.deadAfterMs
    this.#clock = options.clock
    this.#log = options.log
    options.mesh.handle(TELL_PROTOCOL, MAX_TELL_BYTES, async (_peer, request) => {
      await options.records.apply(recordsOf(request))
      return encode(true)
    })
  }

  /** Settles when every member that is live, and stays so, has answered or run out of time. */
  async tell(applied: readonly Applied[]): Promise<Told> {
    const records = applied.map(({ bytes }) => bytes)
    const silent: PeerView[] = []
    let confirmed = 0
    const live = this.#mesh.peers().filter(({ state }) => state === 'live')
    await Promise.all(
      live.map(async peer => {
        if (await this.#enqueue(peer.id, records)) confirmed += 1
        else if (this.#isLive(peer.id)) silent.push(peer)
      })
    )
    return { confirmed, silent }
  }

  /** One request at a time goes to a peer, so that a hundred writers do not use up its streams. */
  #enqueue(peer: string, records: readonly Uint8Array[]): Promise<boolean> {
    const waiting = this.#waiting.get(peer)
    if (waiting !== undefined) {
      waiting.records.push(...records)
      return waiting.done
    }
    const batch = [...records]
    const before = this.#running.get(peer) ?? Promise.resolve(true)
    const done = before.then(() => {
      this.#waiting.delete(peer)
      return this.#send(peer, batch)
    })
    this.#waiting.set(peer, { records: batch, done })
    this.#running.set(peer, done)
    return done
  }

  async #send(peer: string, records: readonly Uint8Array[]): Promise<boolean> {
    const patienceMs = this.#silent.has(peer) ? 0 : this.#deadAfterMs
    const deadline = this.#clock.monotonic() + patienceMs + TELL_SPARE_MS
    const messages = [...announcementsOf(records, MAX_TELL_BYTES / 2)]
    for (;;) {
      const leftMs = deadline - this.#clock.monotonic()
      if (leftMs <= 0 || !this.#isLive(peer)) {
        this.#silent.add(peer)
        return false
      }
      const options = { signal: AbortSignal.timeout(Math.ceil(leftMs)), maxBytes: MAX_ANSWER_BYTES }
      try {
        for (const message of messages) {
          await this.#mesh.request(peer, TELL_PROTOCOL, message, options)
        }
        this.#silent.delete(peer)
        return true
      } catch (error) {
        this.#log.debug({ peer, err: error }, 'records not confirmed')
        await delay(RETRY_MS)
      }
    }
  }

  #isLive(peer: string): boolean {
    return this.#mesh.peer(peer)?.state === 'live'
  }
}
