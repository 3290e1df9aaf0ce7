import type { Clock, Random } from '../clock.ts'
import { algorithmOf, type Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Channel } from '../mesh/channel.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Metrics } from '../metrics.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Uploads } from '../store/uploads.ts'
import { Driver } from '../swarm/driver/driver.ts'
import { ARRIVAL_MS } from '../swarm/driver/finding.ts'
import { PROVISIONAL_PREFIX } from '../swarm/driver/key.ts'
import { MAX_MESSAGE_BYTES } from '../swarm/driver/message.ts'
import type { PieceStore } from '../swarm/driver/ports.ts'
import { neighboursOf, overlayOf } from '../swarm/overlay.ts'
import type { PieceFetcher } from '../swarm/piece-fetcher.ts'
import type { Expected } from './expected.ts'

const SWARM_PROTOCOL = '/starling/swarm/1'

/** Some greetings of the largest blobs; whoever is so far behind begins anew. */
const MAX_QUEUED_BYTES = 4 * MAX_MESSAGE_BYTES

export interface SwarmingOptions {
  readonly mesh: Mesh
  readonly blobs: Blobs
  readonly uploads: Uploads
  readonly pieces: Pick<PieceFetcher, 'fetch'>
  /** Pushes that need not be passed on while they come. */
  readonly expected: Pick<Expected, 'mayBe'>
  /** Whether this node takes what it is not asked for. */
  readonly hasRoom: () => boolean
  /** Bytes were taken in, and are on their way to the disk. */
  readonly onTaken: (bytes: number) => void
  readonly metrics: Metrics
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** Lets the swarm's driver loose on mesh, store and blob plane. */
export class Swarming {
  readonly driver: Driver
  readonly #options: SwarmingOptions
  readonly #channel: Channel
  /** Those that the driver speaks with. */
  readonly #up = new Set<string>()
  /** When (monotonic) the mesh last met each. */
  readonly #metMs = new Map<string, number>()
  readonly #unsubscribe: readonly (() => void)[]

  /** Removes what is left of pushes to other nodes. */
  static async open(options: SwarmingOptions): Promise<Swarming> {
    const { blobs } = options
    for (const name of await blobs.pieceNames()) {
      if (name.startsWith(PROVISIONAL_PREFIX)) await blobs.removePieces(name)
    }
    return new Swarming(options)
  }

  private constructor(options: SwarmingOptions) {
    const { mesh, blobs, uploads, metrics, clock, random, log } = options
    this.#options = options
    this.#channel = mesh.channel(
      SWARM_PROTOCOL,
      { maxFrameBytes: MAX_MESSAGE_BYTES, maxQueuedBytes: MAX_QUEUED_BYTES },
      (peer, message) => {
        this.#up.add(peer)
        this.driver.hear(peer, message)
      }
    )
    this.driver = new Driver({
      self: mesh.id,
      channel: this.#channel,
      fetchPiece: (peer, wish) => this.#fetch(peer, wish),
      store: this.#store(),
      isLive: peer => mesh.peer(peer)?.state === 'live',
      nameOf: peer => mesh.peer(peer)?.name ?? peer,
      isExpecting: () => this.#isExpecting(),
      onTaken: bytes => {
        metrics.piecesReceived.inc()
        options.onTaken(bytes)
      },
      onWasted: bytes => metrics.wastedBytes.inc(bytes),
      onPassedOn: ms => metrics.replicationSeconds.observe(ms / 1000),
      ...{ clock, random, log }
    })
    this.#unsubscribe = [
      this.#channel.onUp(peer => this.#meet(peer)),
      this.#channel.onDown(peer => this.#lose(peer)),
      mesh.on('connected', peer => this.#metMs.set(peer, clock.monotonic())),
      mesh.on('live', () => this.#rearrange()),
      mesh.on('away', () => this.#rearrange()),
      mesh.on('gone', peer => {
        this.#metMs.delete(peer)
        this.#rearrange()
      }),
      blobs.onLost(digest => this.driver.lost(digest)),
      uploads.tap.onGrown(({ id, repository }, growth) => {
        if (!options.expected.mayBe(repository, growth)) this.driver.ingests.grown(id, growth)
      }),
      uploads.tap.onEnded(({ id }, outcome) => {
        if (outcome.kind === 'blob') this.driver.ingests.finished(id, outcome)
        else this.driver.ingests.gone(id)
      })
    ]
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.driver.close()
  }

  #meet(peer: string): void {
    if (!this.#neighbours().has(peer)) return
    this.#up.add(peer)
    this.driver.up(peer)
  }

  #lose(peer: string): void {
    if (this.#up.delete(peer)) this.driver.down(peer)
  }

  /** The overlay has changed with the members. */
  #rearrange(): void {
    const neighbours = this.#neighbours()
    for (const peer of [...this.#up]) if (!neighbours.has(peer)) this.#lose(peer)
    for (const peer of this.#channel.peers()) if (!this.#up.has(peer)) this.#meet(peer)
  }

  /** Those that the graph of live members gives this node; all of them while they are few. */
  #neighbours(): ReadonlySet<string> {
    const { mesh } = this.#options
    const live = mesh.peers().filter(({ state, hold }) => state === 'live' && hold === 'all')
    return new Set(neighboursOf(overlayOf([mesh.id, ...live.map(({ id }) => id)]), mesh.id))
  }

  /** Asked before each fetch: the graph of a thousand members is made only while somebody is coming. */
  #isExpecting(): boolean {
    const coming = [...this.#metMs.keys()].filter(peer => this.#isComing(peer))
    if (coming.length === 0) return false
    const neighbours = this.#neighbours()
    return coming.some(peer => neighbours.has(peer))
  }

  /** The mesh has just met it, and the channel is being opened. */
  #isComing(peer: string): boolean {
    const { mesh, clock } = this.#options
    if (this.#up.has(peer) || mesh.peer(peer)?.connected !== true) return false
    return clock.monotonic() - (this.#metMs.get(peer) ?? 0) < ARRIVAL_MS
  }

  async #fetch(peer: string, wish: Parameters<PieceFetcher['fetch']>[1]) {
    const { mesh, pieces } = this.#options
    const view = mesh.peer(peer)
    if (view?.transfer === undefined) {
      const error = new StarlingError('PEER_FAILED', `${peer} has not said where its blobs are`)
      return { kind: 'failed' as const, error }
    }
    const { id, name, transfer } = view
    return pieces.fetch({ id, name, ...transfer }, wish)
  }

  #store(): PieceStore {
    const { blobs, uploads, hasRoom, log } = this.#options
    return {
      stat: digest => blobs.stat(digest),
      open: (name, { pieceBytes, sizeBytes, digest }, signal) =>
        blobs.pieces(name, {
          ...{ pieceBytes, signal },
          ...(sizeBytes !== undefined && { sizeBytes }),
          ...(digest !== undefined && { algorithm: algorithmOf(digest) })
        }),
      hasPieces: async name => (await blobs.pieceNames()).includes(name),
      readBlob: (digest, start, end) => blobs.read(digest, { start, end }),
      readUpload: (id, start, end) => uploads.read(id, { start, end }),
      hasRoom,
      suspect: digest => {
        check(blobs, digest).catch(error => log.warn({ digest, err: error }, 'blob not checked'))
      }
    }
  }
}

/** Reads all of a blob again: if it has rotted it is lost, and fetched anew. */
async function check(blobs: Blobs, digest: Digest): Promise<void> {
  await blobs.check(digest, async () => {})
}
