import { pieceBytesFor, SMALL_BLOB_BYTES } from '../piece-size.ts'
import type { Urgency } from '../schedule/messages.ts'
import type { Hashing } from './hashing.ts'
import { fileNameOf, tryKey } from './key.ts'
import type { Name } from './message.ts'
import type { Part } from './part.ts'
import type { Parts } from './parts.ts'
import type { PieceShape, PieceStore } from './ports.ts'

/** Pushes elsewhere that are passed on to this node at once; each is a file that nobody asked for. */
const MAX_PROVISIONAL = 32

export interface JoiningOptions {
  readonly parts: Parts
  readonly store: PieceStore
  readonly hashing: Hashing
  /** Whether a node is there that takes a push. */
  readonly isLive: (peer: string) => boolean
  readonly signal: AbortSignal
}

/** A greeting for a blob that this node has no part in. */
export interface Invitation extends PieceShape {
  readonly key: string
  readonly name: Name | undefined
}

/** Begins to take part in blobs. */
export class Joining {
  readonly #options: JoiningOptions
  readonly #opening = new Map<string, Promise<Part | undefined>>()

  constructor(options: JoiningOptions) {
    this.#options = options
  }

  /**
   * Begins to take a blob, or joins who does. `undefined` when the node is closing. Throws
   * `DISK_FULL` or `DISK_FAILED`, and `UNAVAILABLE` while its file is in use.
   */
  take(invitation: Invitation, urgency: Urgency): Promise<Part | undefined> {
    const { key } = invitation
    const known = this.#options.parts.get(key)
    if (known !== undefined) return Promise.resolve(known)
    const opening = this.#opening.get(key) ?? this.#open(invitation, urgency)
    this.#opening.set(key, opening)
    return opening.finally(() => this.#opening.delete(key))
  }

  /** Gives a blob that is held here and that a neighbour fetches; whether there is any. */
  give({ key, sizeBytes, pieceBytes }: Invitation): boolean {
    const { parts, store, hashing } = this.#options
    const parsed = tryKey(key)
    if (parsed?.kind !== 'blob') return false
    const { digest } = parsed
    const stat = store.stat(digest)
    if (stat === undefined || stat.sizeBytes !== sizeBytes) return false
    if (sizeBytes <= SMALL_BLOB_BYTES || pieceBytes !== pieceBytesFor(sizeBytes)) return false
    const name = { digest, sizeBytes }
    const source = { kind: 'blob', digest } as const
    hashing.advance(parts.give({ key, pieceBytes, sizeBytes, name, source }))
    return true
  }

  /**
   * Whether a push elsewhere may be passed on to this node, though nobody here asked for it. What
   * has become a blob by now is fetched as that, by whoever lacks it.
   */
  mayTake(invitation: Invitation): boolean {
    const { parts, store, isLive } = this.#options
    const parsed = tryKey(invitation.key)
    if (parsed?.kind !== 'upload' || parts.wasOver(invitation.key)) return false
    if (invitation.name !== undefined) return false
    const count = parts.provisional() + this.#opening.size
    return isLive(parsed.origin) && store.hasRoom() && count < MAX_PROVISIONAL
  }

  async #open(invitation: Invitation, urgency: Urgency): Promise<Part | undefined> {
    const { parts, store, signal } = this.#options
    const { key, name, pieceBytes, sizeBytes = name?.sizeBytes } = invitation
    const shape = { pieceBytes, sizeBytes, digest: name?.digest }
    const file = await store.open(fileNameOf(key), shape, signal)
    if (!signal.aborted) {
      // Its source is the file, which is only now there.
      return parts.take({ key, pieceBytes, sizeBytes, name }, file, urgency)
    }
    await file.close()
    return undefined
  }
}
