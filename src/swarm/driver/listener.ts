import type { Log } from '../../log.ts'
import { HASH_BYTES, MAX_PIECES, pieceBytesFor, pieceCountFor } from '../piece-size.ts'
import { Bits } from '../schedule/bits.ts'
import type { Event } from '../schedule/messages.ts'
import type { Joining } from './joining.ts'
import { tryKey } from './key.ts'
import { decodeMessage, type Message, type Name, type Pieces } from './message.ts'
import { hashOfPiece, type Part, pieceCountOf } from './part.ts'
import { isProvisional, type Parts } from './parts.ts'
import type { PieceStore } from './ports.ts'
import type { Seeks } from './seeks.ts'
import type { Talk } from './talk.ts'

type Hello = Extract<Message, { kind: 'hello' }>

export interface ListenerOptions {
  readonly parts: Parts
  readonly joining: Joining
  readonly seeks: Seeks
  readonly talk: Talk
  readonly store: PieceStore
  readonly tell: (event: Event) => void
  readonly peers: () => Iterable<string>
  /** A blob held here may be damaged. */
  readonly onDamaged: (part: Part, piece: number) => void
  readonly log: Log
}

/** Heeds what the neighbours say. */
export class Listener {
  readonly #options: ListenerOptions
  /** Complaints cost reading: one is looked into at a time. */
  #isLooking = false
  /** Reading all of a blob again is done once, however many complain. */
  readonly #suspected = new WeakSet<Part>()

  constructor(options: ListenerOptions) {
    this.#options = options
  }

  hear(peer: string, bytes: Uint8Array): void {
    const { parts, seeks, tell, log } = this.#options
    let message: Message | undefined
    try {
      message = decodeMessage(bytes)
    } catch (error) {
      log.warn({ peer, err: error }, 'swarm message not understood')
    }
    if (message === undefined) return
    const { key } = message
    const part = parts.get(key)
    switch (message.kind) {
      case 'hello':
        this.#greeted(peer, message, part)
        break
      case 'have':
      case 'offer':
        if (part !== undefined) this.#learn(peer, part, message)
        break
      case 'named':
        if (part !== undefined) this.name(part, message, peer)
        break
      case 'abort':
        if (part !== undefined) this.#abort(part, peer)
        break
      case 'leave':
        seeks.miss(peer, key)
        tell({ kind: 'leave', peer, blob: key })
        // Who takes a push leaves it when it is over: it may have ended while the file was made here.
        if (part?.origin === peer) this.#abort(part, peer)
        break
      case 'progress':
        if (part?.source.kind === 'upload') part.taken.set(peer, message.bytes)
        break
      case 'complain':
        if (part !== undefined) void this.#look(part, message.piece)
        break
      default:
        message satisfies never
    }
  }

  /** It is known what a push elsewhere has become: everyone is told once. */
  name(part: Part, { digest, sizeBytes }: Name, from: string): void {
    const { parts, talk, store, tell, peers } = this.#options
    if (!isProvisional(part) || part.source.kind !== 'file') return
    const name = { digest, sizeBytes }
    for (const peer of peers()) if (peer !== from) talk.named(peer, part.key, name)
    const pieceCount = pieceCountFor(sizeBytes, part.pieceBytes)
    if (store.stat(digest) !== undefined || parts.get(digest) || pieceCount > MAX_PIECES) {
      for (const peer of peers()) talk.leave(peer, part.key)
      parts.end(part, { kind: 'given-up', why: 'dropped' })
      return
    }
    part.name = name
    part.sizeBytes = sizeBytes
    part.source.file.setSize(sizeBytes).catch(error => parts.end(part, { kind: 'failed', error }))
    tell({ kind: 'sized', blob: part.key, sizeBytes, pieceCount })
  }

  #greeted(peer: string, hello: Hello, part: Part | undefined): void {
    const { seeks, joining, store, talk, log } = this.#options
    const { key, sizeBytes, name, pieceBytes } = hello
    const parsed = tryKey(key)
    if (parsed?.kind === 'blob' && sizeBytes === undefined) {
      const size = part?.sizeBytes ?? store.stat(parsed.digest)?.sizeBytes
      if (size === undefined) talk.leave(peer, key)
      else talk.tellShape(peer, key, { sizeBytes: size, pieceBytes: pieceBytesFor(size) })
      return
    }
    seeks.hear(key, hello)
    if (part !== undefined) {
      if (pieceBytes !== part.pieceBytes || differ(sizeBytes, part.sizeBytes)) {
        log.debug({ peer, key, pieceBytes, sizeBytes }, 'swarm greeting does not fit')
        return
      }
      if (name !== undefined) this.name(part, name, peer)
      this.#meet(peer, hello, part)
    } else if (hello.wants && joining.give(hello)) {
      const given = this.#options.parts.get(key)
      if (given !== undefined) this.#meet(peer, hello, given)
    } else if (joining.mayTake(hello)) {
      // What this greeting says of pieces is said again in answer to ours.
      joining.take(hello, 'background').catch(error => {
        log.warn({ key, err: error }, 'push elsewhere not followed')
      })
    } else if (hello.reply) talk.leave(peer, key)
  }

  #meet(peer: string, hello: Hello, part: Part): void {
    if (part.suspects.at(-1) === peer) return
    const { key: blob, reply, wants, pieces, hashes } = hello
    this.#note(peer, part, { pieces, hashes })
    if (!wants) part.holders.add(peer)
    // Another holder has everything, though it has not hashed it yet: what is offered to it would
    // wait in vain, and with two holders there is no need to offer.
    const isHolder = !wants && part.source.kind === 'blob'
    const held = isHolder ? Bits.full(pieceCountOf(part)) : new Bits(pieceCountOf(part))
    for (const piece of pieces) held.add(piece)
    this.#options.parts.touch(part)
    this.#options.tell({ kind: 'hello', peer, blob, held, reply })
  }

  #learn(
    peer: string,
    part: Part,
    { kind, pieces, hashes }: Extract<Message, { kind: 'have' | 'offer' }>
  ): void {
    if (part.suspects.at(-1) === peer) return
    this.#note(peer, part, { pieces, hashes })
    this.#options.tell({ kind, peer, blob: part.key, pieces })
  }

  #note(peer: string, part: Part, { pieces, hashes }: Pieces): void {
    const count = pieceCountOf(part)
    for (const [at, piece] of pieces.entries()) {
      if (piece >= count) continue
      part.claims.hear(peer, piece, hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES))
    }
  }

  #abort(part: Part, from: string): void {
    const { parts, talk, peers } = this.#options
    if (!isProvisional(part)) return
    for (const peer of peers()) if (peer !== from) talk.abort(peer, part.key)
    parts.end(part, { kind: 'given-up', why: 'dropped' })
  }

  /** A neighbour got a wrong piece: before it is blamed, or the way, this node looks at its disk. */
  async #look(part: Part, piece: number): Promise<void> {
    const { store, onDamaged } = this.#options
    const expected = part.claims.heldHash(piece)
    if (this.#isLooking || expected === undefined) return
    this.#isLooking = true
    try {
      const hash = await hashOfPiece(part, piece, store)
      if (!hash.equals(expected)) onDamaged(part, piece)
      else this.#suspectOnce(part)
    } catch {
      onDamaged(part, piece)
    } finally {
      this.#isLooking = false
    }
  }

  /** The pieces are as this node says: if they are wrong all the same, they had rotted by then. */
  #suspectOnce(part: Part): void {
    if (part.source.kind !== 'blob' || this.#suspected.has(part)) return
    this.#suspected.add(part)
    this.#options.store.suspect(part.source.digest)
  }
}

function differ(a: number | undefined, b: number | undefined): boolean {
  return a !== undefined && b !== undefined && a !== b
}
