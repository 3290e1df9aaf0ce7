import type { Clock, Random } from '../../clock.ts'
import type { Digest } from '../../digest.ts'
import { StarlingError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { PieceAnswer, PieceDesk, PieceRequest } from '../piece-desk.ts'
import { SMALL_BLOB_BYTES } from '../piece-size.ts'
import type { Limits } from '../schedule/limits.ts'
import type { Effect, Event, PieceOf, Urgency } from '../schedule/messages.ts'
import { Completion } from './completion.ts'
import { Desk } from './desk.ts'
import { Engine } from './engine.ts'
import { Fetching } from './fetching.ts'
import { Finding } from './finding.ts'
import { Hashing } from './hashing.ts'
import { Ingests } from './ingests.ts'
import { Joining } from './joining.ts'
import { DRIVER_LIMITS } from './limits.ts'
import { Listener } from './listener.ts'
import type { Part } from './part.ts'
import { Parts } from './parts.ts'
import type { Channel, FetchPiece, PieceShape, PieceStore } from './ports.ts'
import { Seeks } from './seeks.ts'
import { Taker } from './taker.ts'
import { Talk } from './talk.ts'
import { Upkeep } from './upkeep.ts'

export interface DriverOptions {
  /** The peer id of this node. */
  readonly self: string
  readonly channel: Channel
  readonly fetchPiece: FetchPiece
  readonly store: PieceStore
  /** Whether a node is there that takes a push. */
  readonly isLive: (peer: string) => boolean
  readonly nameOf: (peer: string) => string
  /** Whether a neighbour is live that cannot be spoken to yet. */
  readonly isExpecting: () => boolean
  /** A piece of so many bytes was taken from a neighbour. */
  readonly onTaken: (bytes: number) => void
  /** Bytes came that were not needed, or wrong. */
  readonly onWasted: (bytes: number) => void
  /** A push elsewhere has become a blob here, so many milliseconds after its first word. */
  readonly onPassedOn: (ms: number) => void
  readonly clock: Pick<Clock, 'monotonic'>
  readonly random: Random
  readonly log: Log
  readonly limits?: Limits
}

/**
 * Lets this node take part in swarms: runs the scheduler, and does what it wants done over the
 * ports. Neighbours talk by messages, in order; pieces are asked for and given apart from that.
 */
export class Driver implements PieceDesk {
  /** The pushes to this node. */
  readonly ingests: Ingests
  readonly #options: DriverOptions
  readonly #peers = new Set<string>()
  readonly #engine: Engine
  readonly #talk: Talk
  readonly #parts: Parts
  readonly #desk: Desk
  readonly #taker: Taker
  readonly #hashing: Hashing
  readonly #completion: Completion
  readonly #joining: Joining
  readonly #seeks = new Seeks()
  readonly #finding: Finding
  readonly #listener: Listener
  readonly #upkeep: Upkeep
  readonly #fetchings = new Set<Fetching>()
  readonly #closing = new AbortController()

  constructor(options: DriverOptions) {
    const { channel, limits = DRIVER_LIMITS, onPassedOn } = options
    const tell = (event: Event) => this.#engine.tell(event)
    const partOf = (key: string) => this.#parts.get(key)
    const swarm = (key: string) => this.#engine.swarm(key)
    const peers = () => [...this.#peers]
    const onUnreadable = (part: Part, error: unknown) => this.#unreadable(part, error)
    this.#options = options
    this.#engine = new Engine({ ...options, limits, perform: effect => this.#perform(effect) })
    const talk = new Talk(channel, partOf)
    const parts = new Parts({ ...options, tell, onOver: ({ key }) => this.#desk.turnAway(key) })
    const hashing = new Hashing({
      ...{ ...options, onUnreadable },
      onPiece: ({ key }, piece) => tell({ kind: 'local', blob: key, piece }),
      isOfUse: () => this.#peers.size > 0
    })
    const onFailed = (part: Part, error: unknown) => this.#fail(part, error)
    const onTaken = (part: Part, of: PieceOf, bytes: number) => this.#taken(part, of, bytes)
    const onHeld = ({ origin }: Part, ms: number) => {
      if (origin !== undefined) onPassedOn(ms)
    }
    this.#talk = talk
    this.#parts = parts
    this.#hashing = hashing
    this.#desk = new Desk({ ...options, partOf, tell, onUnreadable })
    this.#taker = new Taker({ ...options, partOf, tell, onFailed, onTaken })
    this.#completion = new Completion({ ...options, parts, talk, tell, onHeld })
    this.#joining = new Joining({ ...options, parts, hashing, signal: this.#closing.signal })
    this.#finding = new Finding({
      ...{ ...options, talk, peers, seeks: this.#seeks, signal: this.#closing.signal },
      known: digest => this.#coming(digest)
    })
    this.#listener = new Listener({
      ...{ ...options, parts, talk, tell, peers },
      joining: this.#joining,
      seeks: this.#seeks,
      onDamaged: (part, piece) => this.#damaged(part, piece)
    })
    this.#upkeep = new Upkeep({ ...options, parts, talk, swarm, peers })
    this.ingests = new Ingests({ ...options, parts, hashing, talk, tell, swarm, peers })
  }

  /** A neighbour can be spoken to. */
  up(peer: string): void {
    this.#peers.add(peer)
    this.#engine.tell({ kind: 'peer-up', peer })
    for (const part of this.#parts.all()) this.#hashing.advance(part)
    this.#finding.arrived()
  }

  /** A neighbour cannot be spoken to any more; what it was told is forgotten on both sides. */
  down(peer: string): void {
    this.#peers.delete(peer)
    this.#seeks.miss(peer)
    this.#engine.tell({ kind: 'peer-down', peer })
  }

  /**
   * A neighbour says something; what makes no sense is logged and ignored. It may be heard a little
   * before it can be spoken to.
   */
  hear(peer: string, message: Uint8Array): void {
    if (!this.#peers.has(peer)) this.up(peer)
    this.#listener.hear(peer, message)
  }

  /** A neighbour asks for a piece; settles when it is its turn. The signal says that it hung up. */
  want(request: PieceRequest, signal: AbortSignal): Promise<PieceAnswer> {
    const part = this.#parts.get(request.key)
    if (part !== undefined) this.#parts.touch(part)
    return this.#desk.want(request, signal)
  }

  /** A piece that was served has left, or its sending broke off. */
  sent({ peer, key, piece }: PieceRequest): void {
    this.#desk.sent({ peer, blob: key, piece })
  }

  /** Begins to fetch a blob in pieces, or joins a push that has become it. */
  fetch(digest: Digest, urgency: Urgency): Fetching {
    const tell = (event: Event) => this.#engine.tell(event)
    const fetching = new Fetching({ digest, urgency, tell, nameOf: this.#options.nameOf })
    this.#fetchings.add(fetching)
    void fetching.ended.then(() => this.#fetchings.delete(fetching))
    this.#pursue(fetching, urgency).catch(error => fetching.end({ kind: 'failed', error }))
    return fetching
  }

  /** A blob is not held here any more. */
  lost(digest: Digest): void {
    for (const part of this.#parts.all()) {
      if (part.source.kind === 'blob' && part.source.digest === digest) this.#leave(part)
    }
  }

  /** Ends everything; what has come of blobs by digest is kept for the next start. */
  close(): void {
    const error = new StarlingError('CLOSED', 'the node is stopping')
    this.#closing.abort(error)
    this.#upkeep.close()
    this.#seeks.close()
    for (const part of this.#parts.all()) {
      this.#parts.end(
        part,
        { kind: 'failed', error },
        part.origin === undefined ? 'keep' : 'remove'
      )
    }
    for (const fetching of this.#fetchings) fetching.end({ kind: 'failed', error })
    this.#taker.close()
    this.#desk.turnAway()
    this.#engine.close()
  }

  async #pursue(fetching: Fetching, urgency: Urgency): Promise<void> {
    const { digest } = fetching
    const shape = await this.#finding.find(digest)
    // A push may have become it meanwhile, and have come here in full.
    if (this.#options.store.stat(digest) !== undefined) return fetching.end({ kind: 'held' })
    const part = this.#coming(digest) ?? (shape && (await this.#begin(fetching, shape, urgency)))
    if (part === undefined) fetching.end({ kind: 'given-up', why: 'nobody' })
    else fetching.join(part)
  }

  /** The part by which a blob is on its way here already. */
  #coming(digest: Digest): Part | undefined {
    return this.#parts
      .all()
      .find(({ name, source }) => name?.digest === digest && source.kind === 'file')
  }

  async #begin(
    fetching: Fetching,
    { pieceBytes, sizeBytes }: PieceShape,
    urgency: Urgency
  ): Promise<Part | undefined> {
    const { digest } = fetching
    if (sizeBytes === undefined || sizeBytes <= SMALL_BLOB_BYTES) return undefined
    const name = { digest, sizeBytes }
    return this.#joining.take({ key: digest, pieceBytes, sizeBytes, name }, urgency)
  }

  #perform(effect: Exclude<Effect, { kind: 'wake' }>): void {
    switch (effect.kind) {
      case 'hello':
      case 'have':
      case 'offer':
        this.#talk.pass(effect)
        break
      case 'want':
        this.#taker.want(effect)
        break
      case 'cancel':
        this.#taker.cancel(effect)
        break
      case 'busy':
        this.#desk.busy(effect, effect.retryMs)
        break
      case 'serve':
        this.#desk.serve(effect)
        break
      case 'stop':
        this.#desk.stop(effect)
        break
      case 'complain':
        this.#complain(effect)
        break
      case 'complete': {
        const part = this.#parts.get(effect.blob)
        if (part !== undefined) void this.#completion.complete(part)
        break
      }
      default:
        effect satisfies never
    }
  }

  #complain({ peer, blob, piece, asideMs }: Extract<Effect, { kind: 'complain' }>): void {
    const { nameOf, log } = this.#options
    log.warn({ peer, name: nameOf(peer), blob, piece, asideMs }, 'peer gave a wrong piece')
    this.#talk.complain(peer, blob, piece)
  }

  #taken(part: Part, { peer, blob }: PieceOf, bytes: number): void {
    this.#options.onTaken(bytes)
    part.from.add(peer)
    part.doneBytes += bytes
    this.#parts.touch(part)
    this.#upkeep.tellProgress(part)
    const swarm = this.#engine.swarm(blob)
    if (swarm?.urgency !== 'awaited') return
    let { cursor } = swarm
    while (cursor < swarm.held.length && part.claims.heldHash(cursor) !== undefined) cursor++
    if (cursor !== swarm.cursor) this.#engine.tell({ kind: 'await', blob, cursor })
  }

  /** A piece was served as announced, and came wrong: it has rotted here. */
  #damaged(part: Part, piece: number): void {
    const { source, key: blob } = part
    if (source.kind === 'blob') this.#unreadable(part, undefined)
    if (source.kind !== 'file' || part.state !== 'open') return
    source.file.drop(piece).catch(error => this.#fail(part, error))
    part.claims.release(piece)
    this.#engine.tell({ kind: 'lost', blob, pieces: [piece] })
  }

  #unreadable(part: Part, error: unknown): void {
    const { store, log } = this.#options
    // The file of an upload goes at its end, a little before its outcome is told.
    if (part.source.kind === 'upload') return
    log.warn({ key: part.key, err: error }, 'pieces not readable')
    if (part.source.kind === 'blob') store.suspect(part.source.digest)
    this.#leave(part)
  }

  #fail(part: Part, error: unknown): void {
    for (const peer of this.#peers) this.#talk.leave(peer, part.key)
    this.#parts.end(part, { kind: 'failed', error })
  }

  #leave(part: Part): void {
    for (const peer of this.#peers) this.#talk.leave(peer, part.key)
    this.#parts.end(part, { kind: 'given-up', why: 'dropped' })
  }
}
