import { hash, randomBytes } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { systemClock, systemRandom } from '../../../src/clock.ts'
import { type Digest, digestOf } from '../../../src/digest.ts'
import type { Log } from '../../../src/log.ts'
import { Driver } from '../../../src/swarm/driver/driver.ts'
import type { FetchedPiece, PieceWish } from '../../../src/swarm/piece-fetcher.ts'
import { MemoryStore } from './memory-store.ts'

/** A node of the flock. */
export interface Bird {
  readonly id: string
  readonly driver: Driver
  readonly store: MemoryStore
  /** What it does with a piece that leaves it. */
  send: (bytes: Buffer) => Buffer
  /** A dead node neither hears nor answers. */
  isDead: boolean
  sentBytes: number
  wastedBytes: number
  readonly warnings: Record<string, unknown>[]
}

/** Drivers in one process, with messages and pieces passed by hand: in order between any two. */
export class Flock {
  readonly birds = new Map<string, Bird>()
  readonly #links = new Set<string>()

  static open(context: TestContext, ...ids: readonly string[]): Flock {
    const flock = new Flock()
    for (const id of ids) flock.add(id)
    context.after(() => {
      for (const { driver } of flock.birds.values()) driver.close()
    })
    return flock
  }

  add(id: string): Bird {
    const store = new MemoryStore()
    const warnings: Record<string, unknown>[] = []
    const driver = new Driver({
      self: id,
      channel: { send: (peer, message) => this.#deliver(id, peer, message) },
      fetchPiece: (peer, wish) => this.#fetch(id, peer, wish),
      store,
      isLive: peer => this.birds.get(peer)?.isDead === false,
      nameOf: peer => peer,
      isExpecting: () => false,
      onTaken: () => {},
      onWasted: bytes => {
        bird.wastedBytes += bytes
      },
      onPassedOn: () => {},
      clock: systemClock,
      random: systemRandom,
      log: logInto(warnings)
    })
    const bird: Bird = {
      ...{ id, driver, store, warnings, isDead: false, sentBytes: 0, wastedBytes: 0 },
      send: bytes => bytes
    }
    this.birds.set(id, bird)
    for (const other of this.birds.keys()) if (other !== id) this.link(id, other)
    return bird
  }

  get(id: string): Bird {
    const bird = this.birds.get(id)
    if (bird === undefined) throw new Error(`no bird ${id}`)
    return bird
  }

  link(a: string, b: string): void {
    this.#links.add(`${a} ${b}`).add(`${b} ${a}`)
    this.get(a).driver.up(b)
    this.get(b).driver.up(a)
  }

  /** It is gone from one moment to the next; `notice` tells the others. */
  kill(id: string): void {
    this.get(id).isDead = true
    this.get(id).driver.close()
  }

  notice(id: string): void {
    for (const each of this.birds.values()) if (each.id !== id) each.driver.down(id)
  }

  #deliver(from: string, to: string, message: Uint8Array): boolean {
    const copy = message.slice()
    setImmediate(() => {
      const [sender, receiver] = [this.birds.get(from), this.birds.get(to)]
      if (sender?.isDead || receiver === undefined || receiver.isDead) return
      if (this.#links.has(`${from} ${to}`)) receiver.driver.hear(from, copy)
    })
    return true
  }

  async #fetch(
    from: string,
    to: string,
    { key, piece, urgency, signal, onStarted }: PieceWish
  ): Promise<FetchedPiece> {
    const giver = this.get(to)
    if (giver.isDead) return new Promise(() => {})
    const request = { peer: from, key, piece, urgency }
    const served = await giver.driver.want(request, signal)
    if (served.kind !== 'serve') return served
    onStarted?.()
    try {
      const bytes = giver.send(await buffer(served.body))
      giver.sentBytes += bytes.length
      return { kind: 'arrived', bytes, hash: hash('sha256', bytes, 'buffer'), release: () => {} }
    } catch (error) {
      return { kind: 'failed', error }
    } finally {
      giver.driver.sent(request)
    }
  }
}

export interface TestBlob {
  readonly digest: Digest
  readonly bytes: Buffer
}

export function makeBlob(sizeBytes: number): TestBlob {
  const bytes = randomBytes(sizeBytes)
  return { digest: digestOf(bytes), bytes }
}

function logInto(warnings: Record<string, unknown>[]): Log {
  const quiet = () => {}
  const warn = (fields: Record<string, unknown>, text: string) => {
    warnings.push({ ...fields, text })
  }
  return { debug: quiet, info: quiet, warn, error: warn } as unknown as Log
}
