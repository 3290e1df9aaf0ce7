import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Blobs } from '../store/blobs.ts'
import { CheckedBlob } from '../store/checked-blob.ts'
import type { Entry } from '../swarm/batch.ts'
import type { Holder } from '../swarm/fetcher.ts'

/** So much of an answer is stored in one go, as soon as it is there. */
const STORED_BYTES = 1024 * 1024

/** A small blob that somebody wants. */
export interface Wish {
  readonly digest: Digest
  /** Called with the name of who gave the blob; with `undefined` when it does not come in a batch. */
  readonly settle: (from: string | undefined) => void
  readonly fail: (error: unknown) => void
  /** Those who have it not, or failed to give it. */
  readonly asked: Set<string>
}

export interface BatchTurnOptions {
  readonly blobs: Pick<Blobs, 'putAll'>
  readonly onReceived: (bytes: number) => void
  /** The holder has not got a blob. */
  readonly onAbsent: (digest: Digest) => void
}

/** What one holder gives of many wishes: each blob is verified, and stored with others. */
export class BatchTurn {
  readonly #options: BatchTurnOptions
  readonly #holder: Holder
  readonly #open: Map<Digest, Wish>
  #checked: CheckedBlob[] = []
  #bytes = 0
  #storedBytes = 0
  #count = 0

  constructor(holder: Holder, wishes: readonly Wish[], options: BatchTurnOptions) {
    this.#options = options
    this.#holder = holder
    this.#open = new Map(wishes.map(wish => [wish.digest, wish]))
  }

  /** Bytes of right blobs. */
  get bytes(): number {
    return this.#bytes
  }

  /** Blobs that were right. */
  get count(): number {
    return this.#count
  }

  /** The wishes that have not come true. */
  get left(): readonly Wish[] {
    return [...this.#open.values()]
  }

  /** Throws `DIGEST_INVALID` when the bytes are not those of the blob. */
  async take(entry: Entry): Promise<void> {
    const { digest } = entry
    const wish = this.#open.get(digest)
    if (wish === undefined) return
    switch (entry.kind) {
      case 'absent':
        wish.asked.add(this.#holder.id)
        this.#options.onAbsent(digest)
        return
      case 'alone':
        this.#open.delete(digest)
        wish.settle(undefined)
        return
      case 'bytes':
        this.#check(digest, entry.bytes)
        if (this.#bytes - this.#storedBytes >= STORED_BYTES) await this.store()
        return
      default:
        entry satisfies never
    }
  }

  /** Stores what has come and is not stored yet. Never rejects: the wishes have the error. */
  async store(): Promise<void> {
    const { blobs } = this.#options
    const checked = this.#checked
    this.#checked = []
    this.#storedBytes = this.#bytes
    const wishes = checked.map(({ digest }) => this.#open.get(digest))
    for (const { digest } of checked) this.#open.delete(digest)
    try {
      await blobs.putAll(checked)
      for (const wish of wishes) wish?.settle(this.#holder.name)
    } catch (error) {
      for (const wish of wishes) wish?.fail(error)
    }
  }

  #check(digest: Digest, bytes: Uint8Array): void {
    const blob = CheckedBlob.of(digest, bytes)
    if (blob === undefined) {
      throw new StarlingError('DIGEST_INVALID', `${this.#holder.name} gives other bytes`, {
        detail: digest
      })
    }
    this.#checked.push(blob)
    this.#count += 1
    this.#bytes += bytes.length
    this.#options.onReceived(bytes.length)
  }
}
