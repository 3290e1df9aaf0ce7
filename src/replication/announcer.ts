import type { Digest } from '../digest.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Sightings } from './sightings.ts'
import { decodeAnnouncement, encodeAnnouncement } from './wire.ts'

/** Holdings are told in batches: late enough to share a message, early enough for nobody to wait. */
const BATCH_MS = 20
/** A batch of CIDs that fits a gossip message: one of SHA-512 takes 71 bytes. */
const MAX_BATCH = 800
/** Messages waiting to be journaled. Above it they are dropped: reconciliation brings them. */
const MAX_WAITING = 1_000

/** Tells the others what this node now holds, and takes in what they announce. */
export class Announcer {
  readonly #mesh: Mesh
  readonly #records: Records
  readonly #sightings: Sightings
  readonly #onSighted: (digest: Digest) => void
  readonly #log: Log
  readonly #unsubscribe: () => void
  #held: Digest[] = []
  #timer: NodeJS.Timeout | undefined
  #waiting = 0
  #work: Promise<void> = Promise.resolve()

  constructor(options: {
    mesh: Mesh
    records: Records
    blobs: Blobs
    sightings: Sightings
    onSighted: (digest: Digest) => void
    log: Log
  }) {
    this.#mesh = options.mesh
    this.#records = options.records
    this.#sightings = options.sightings
    this.#onSighted = options.onSighted
    this.#log = options.log
    this.#unsubscribe = options.blobs.onHeld(digest => this.#announceSoon(digest))
    this.#mesh.onGossip((peer, payload) => this.#receive(peer, payload))
    this.#mesh.on('disconnected', peer => this.#sightings.forgetPeer(peer))
  }

  async close(): Promise<void> {
    this.#unsubscribe()
    clearTimeout(this.#timer)
    await this.#work
  }

  #announceSoon(digest: Digest): void {
    this.#held.push(digest)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const held = this.#held
      this.#held = []
      for (let at = 0; at < held.length; at += MAX_BATCH) {
        const digests = held.slice(at, at + MAX_BATCH)
        this.#mesh.publish(encodeAnnouncement({ kind: 'held', digests }))
      }
    }, BATCH_MS)
  }

  #receive(peer: string, payload: Uint8Array): void {
    try {
      const announcement = decodeAnnouncement(payload)
      if (announcement?.kind === 'held') {
        for (const digest of announcement.digests) {
          this.#sightings.add(peer, digest)
          this.#onSighted(digest)
        }
      }
      if (announcement?.kind === 'records') this.#apply(announcement.records)
    } catch (error) {
      this.#log.warn({ peer, err: error }, 'announcement refused')
    }
  }

  #apply(records: readonly Uint8Array[]): void {
    if (this.#waiting >= MAX_WAITING) return
    this.#waiting += 1
    this.#work = this.#work
      .then(async () => {
        const { invalid } = await this.#records.apply(records)
        if (invalid > 0) this.#log.warn({ invalid }, 'announced records refused')
      })
      .catch(error => this.#log.error({ err: error }, 'announced records not stored'))
      .finally(() => {
        this.#waiting -= 1
      })
  }
}
