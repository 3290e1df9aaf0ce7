import type { Digest } from '../../digest.ts'
import { MIN_PIECE_BYTES } from '../piece-size.ts'
import type { Effect } from '../schedule/messages.ts'
import { encodeMessage, type Message, type Name } from './message.ts'
import type { Part } from './part.ts'
import type { Channel, PieceShape } from './ports.ts'

/** A greeting that names no pieces. */
const NO_PIECES = { pieces: [], hashes: new Uint8Array() }

/** What this node says to its neighbours. */
export class Talk {
  readonly #channel: Channel
  readonly #partOf: (key: string) => Part | undefined

  constructor(channel: Channel, partOf: (key: string) => Part | undefined) {
    this.#channel = channel
    this.#partOf = partOf
  }

  /** What the scheduler wants said, with the hashes of the pieces. */
  pass(effect: Extract<Effect, { kind: 'hello' | 'have' | 'offer' }>): void {
    const part = this.#partOf(effect.blob)
    if (part === undefined) return
    const { kind, peer } = effect
    const { key, pieceBytes, sizeBytes, name, claims } = part
    if (kind === 'hello') {
      const pieces = [...effect.held]
      const wants = part.source.kind === 'file'
      this.#say(peer, {
        ...{ kind, key, pieceBytes, sizeBytes, wants, reply: effect.reply },
        // The name of a blob by its digest is no news.
        name: part.origin === undefined ? undefined : name,
        ...{ pieces, hashes: claims.held(pieces) }
      })
    } else {
      const { pieces } = effect
      this.#say(peer, { kind, key, pieces, hashes: claims.held(pieces) })
    }
  }

  /** Asks for the size of a blob. */
  seek(peer: string, digest: Digest): void {
    const shape = { pieceBytes: MIN_PIECE_BYTES, sizeBytes: undefined, name: undefined }
    this.#say(peer, {
      ...{ kind: 'hello', key: digest, wants: true, reply: true },
      ...{ ...shape, ...NO_PIECES }
    })
  }

  /** Answers who asked for the size of a blob. */
  tellShape(peer: string, key: string, { pieceBytes, sizeBytes }: PieceShape): void {
    this.#say(peer, {
      ...{ kind: 'hello', key, wants: false, reply: false, name: undefined },
      ...{ pieceBytes, sizeBytes, ...NO_PIECES }
    })
  }

  /** Asks for another greeting. */
  askAgain(peer: string, { key, pieceBytes, sizeBytes, name }: Part): void {
    const shape = { pieceBytes, sizeBytes, name }
    this.#say(peer, { kind: 'hello', key, wants: true, reply: true, ...shape, ...NO_PIECES })
  }

  named(peer: string, key: string, { digest, sizeBytes }: Name): void {
    this.#say(peer, { kind: 'named', key, digest, sizeBytes })
  }

  abort(peer: string, key: string): void {
    this.#say(peer, { kind: 'abort', key })
  }

  leave(peer: string, key: string): void {
    this.#say(peer, { kind: 'leave', key })
  }

  progress(peer: string, key: string, bytes: number): void {
    this.#say(peer, { kind: 'progress', key, bytes })
  }

  complain(peer: string, key: string, piece: number): void {
    this.#say(peer, { kind: 'complain', key, piece })
  }

  #say(peer: string, message: Message): void {
    this.#channel.send(peer, encodeMessage(message))
  }
}
