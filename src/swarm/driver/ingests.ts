import type { Digest } from '../../digest.ts'
import { MIN_PIECE_BYTES, pieceBytesFor, pieceCountFor, SMALL_BLOB_BYTES } from '../piece-size.ts'
import type { Event } from '../schedule/messages.ts'
import type { Swarm } from '../schedule/swarm.ts'
import type { Hashing } from './hashing.ts'
import { uploadKey } from './key.ts'
import type { Name } from './message.ts'
import type { Part } from './part.ts'
import type { Parts } from './parts.ts'
import type { PieceStore } from './ports.ts'
import type { Talk } from './talk.ts'

/**
 * How a push is cut whose size nobody says: as a blob of up to 1 GiB is, so that small layers have
 * enough pieces to go round; 64 GiB of it can be passed on while it comes.
 */
export const GROWING_PIECE_BYTES = 4 * MIN_PIECE_BYTES

/** How far a push has come. */
export interface Growth {
  /** Bytes that can be read. */
  readonly writtenBytes: number
  /** Where its client says that it will end; a client may push more, or less. */
  readonly declaredBytes?: number
  /** What its client says that it will be. */
  readonly declared?: Digest
}

export interface IngestsOptions {
  /** The peer id of this node. */
  readonly self: string
  readonly parts: Parts
  readonly hashing: Hashing
  readonly store: Pick<PieceStore, 'stat'>
  readonly tell: (event: Event) => void
  readonly swarm: (key: string) => Swarm | undefined
  readonly talk: Talk
  readonly peers: () => Iterable<string>
}

/** The pushes to this node: their pieces are passed on while the rest still comes in. */
export class Ingests {
  readonly #options: IngestsOptions

  constructor(options: IngestsOptions) {
    this.#options = options
  }

  /** An upload has taken so many bytes, all of which can be read. */
  grown(id: string, growth: Growth): void {
    const { parts, hashing } = this.#options
    const part = this.#part(id) ?? this.#begin(id, growth)
    if (part === undefined) return
    part.doneBytes = growth.writtenBytes
    parts.touch(part)
    hashing.advance(part)
  }

  /** An upload has become a blob. */
  finished(id: string, name: Name): void {
    const { parts, hashing, talk, tell, peers } = this.#options
    const part = this.#part(id)
    if (part === undefined) return
    part.name = name
    part.sizeBytes = name.sizeBytes
    part.doneBytes = name.sizeBytes
    part.source = { kind: 'blob', digest: name.digest }
    part.state = 'whole'
    parts.touch(part)
    for (const peer of peers()) talk.named(peer, part.key, name)
    const pieceCount = pieceCountFor(name.sizeBytes, part.pieceBytes)
    tell({ kind: 'sized', blob: part.key, sizeBytes: name.sizeBytes, pieceCount })
    hashing.advance(part)
  }

  /** An upload is over, and became nothing. */
  gone(id: string): void {
    const part = this.#part(id)
    if (part === undefined) return
    const { parts, talk, peers } = this.#options
    for (const peer of peers()) talk.abort(peer, part.key)
    parts.end(part, { kind: 'given-up', why: 'dropped' })
  }

  /** How many bytes of an upload each neighbour has, by peer; `undefined` when it is not passed on. */
  taken(id: string): ReadonlyMap<string, number> | undefined {
    const part = this.#part(id)
    const swarm = part && this.#options.swarm(part.key)
    if (part === undefined || swarm === undefined) return undefined
    return new Map([...swarm.links.keys()].map(peer => [peer, part.taken.get(peer) ?? 0] as const))
  }

  #part(id: string): Part | undefined {
    return this.#options.parts.get(uploadKey(this.#options.self, id))
  }

  /**
   * Small ones are not worth the words: they are fetched whole when they are here. What is held
   * here already has been passed on before.
   */
  #begin(id: string, { writtenBytes, declaredBytes = 0, declared }: Growth): Part | undefined {
    const { self, parts, store } = this.#options
    const key = uploadKey(self, id)
    if (declared !== undefined && store.stat(declared) !== undefined) return undefined
    if (Math.max(declaredBytes, writtenBytes) <= SMALL_BLOB_BYTES || parts.wasOver(key)) {
      return undefined
    }
    const isDeclared = declaredBytes > SMALL_BLOB_BYTES
    const pieceBytes = isDeclared ? pieceBytesFor(declaredBytes) : GROWING_PIECE_BYTES
    return parts.give({
      ...{ key, pieceBytes, sizeBytes: undefined, name: undefined },
      source: { kind: 'upload', id }
    })
  }
}
