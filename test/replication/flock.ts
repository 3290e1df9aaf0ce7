import { silentLog } from '../../src/log.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import { answer } from '../../src/records/answer.ts'
import { type JournalDisk, type JournalFile, nodeDisk } from '../../src/records/disk.ts'
import { peerStore } from '../../src/records/peer-store.ts'
import { reconcile } from '../../src/records/reconcile.ts'
import { Records } from '../../src/records/records.ts'
import { Confirmations } from '../../src/replication/confirmations.ts'
import { Roots } from '../../src/replication/roots.ts'
import { named, peer } from './fixtures.ts'

/** A member of a {@link Flock}: real records and confirmations, without a mesh, on a clock of its own. */
export interface Bird {
  readonly id: string
  readonly clock: { ms: number; now(): number; monotonic(): number }
  readonly records: Records
  readonly roots: Roots
  readonly confirmations: Confirmations
}

const unaborted = new AbortController().signal

/** Nodes that talk when a test says so, and see as live whom the test lets them see. */
export class Flock {
  readonly birds: Bird[] = []
  readonly #dataDir: string
  /** Whether two nodes can hear each other. */
  connected: (a: Bird, b: Bird) => boolean = () => true

  constructor(dataDir: string) {
    this.#dataDir = dataDir
  }

  async add(id: string, ms = 1_800_000_000_000): Promise<Bird> {
    const bird = await this.#open(id, { ms, now: () => clock.ms, monotonic: () => clock.ms })
    const { clock } = bird
    this.birds.push(bird)
    await this.join(bird)
    return bird
  }

  /** Ends the process of a node and begins another on its disk. */
  async restart(bird: Bird): Promise<Bird> {
    const again = await this.lose(bird).then(() => this.#open(bird.id, bird.clock))
    this.birds.push(again)
    return again
  }

  /** Ends a node. */
  async lose(bird: Bird): Promise<void> {
    this.birds.splice(this.birds.indexOf(bird), 1)
    bird.roots.close()
    await bird.records.close()
  }

  async #open(id: string, clock: Bird['clock']): Promise<Bird> {
    const records = await Records.open({
      ...{ dataDir: `${this.#dataDir}/${id}`, origin: id, clock, log: silentLog },
      disk: unsyncedDisk
    })
    const roots = new Roots(records)
    const mesh = { id, peers: () => this.#seenBy(id), on: () => () => {} }
    const confirmations = new Confirmations({ mesh, records, roots, log: silentLog })
    return { id, clock, records, roots, confirmations }
  }

  /** Writes the member record, unless the node has to be judged first. */
  async join({ id, records }: Bird): Promise<void> {
    const { standing } = records.forgetting
    if (standing.isForgotten(id) && standing.isInDoubt) return
    if (standing.members.has(id)) return
    await records.write([
      {
        ...{ kind: 'member', id, name: id, mesh: ['127.0.0.1:1'], transfer: '127.0.0.1:2' },
        ...{ protocol: [1, 1], hold: 'all' }
      }
    ])
  }

  /** One reconciliation begun by `a`, if the two hear each other. */
  async level(a: Bird, b: Bird): Promise<void> {
    if (a === b || !this.connected(a, b)) return
    const ask = (request: Uint8Array) => answer(peerStore(b.records, a.id), request)
    const { terms } = await reconcile(peerStore(a.records, b.id), ask, unaborted)
    if (terms !== undefined) await a.records.forgetting.stoodLevel(terms)
    await this.join(a)
  }

  /** A heartbeat of `a` reaches `b`. */
  beat(a: Bird, b: Bird): void {
    if (a === b || !this.connected(a, b)) return
    const { promised, confirmed } = a.records.forgetting.standing.testimony
    b.confirmations.hear(a.id, { root: a.records.root().hash, promised, confirmed })
  }

  /** Everybody reconciles with everybody they hear, some times over, and time goes on. */
  async settle(rounds = 3): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      for (const bird of this.birds) {
        for (const other of this.birds) await this.level(bird, other)
      }
      for (const bird of this.birds) {
        bird.clock.ms += 20_000
        for (const other of this.birds) this.beat(other, bird)
        await bird.confirmations.look()
      }
    }
  }

  async close(): Promise<void> {
    for (const { records, roots } of this.birds.splice(0)) {
      roots.close()
      await records.close()
    }
  }

  #seenBy(id: string): PeerView[] {
    const self = this.birds.find(bird => bird.id === id)
    return this.birds
      .filter(bird => bird !== self)
      .map(bird =>
        peer(bird.id, {
          state: self !== undefined && this.connected(self, bird) ? 'live' : 'away'
        })
      )
  }
}

export function tagged(name: string) {
  return { kind: 'tag', repository: 'app', tag: name, digest: named(name) } as const
}

/** Nobody cuts the power here. */
const unsyncedDisk: JournalDisk = {
  ...nodeDisk,
  create: async path => unsynced(await nodeDisk.create(path)),
  resume: async (path, offset) => unsynced(await nodeDisk.resume(path, offset)),
  syncDirectory: async () => {}
}

function unsynced(file: JournalFile): JournalFile {
  return {
    append: bytes => file.append(bytes),
    sync: async () => {},
    truncate: sizeBytes => file.truncate(sizeBytes),
    close: () => file.close()
  }
}
