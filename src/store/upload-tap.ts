import type { Digest } from '../digest.ts'
import type { Log } from '../log.ts'
import { Listeners } from './listeners.ts'
import type { Upload } from './upload-session.ts'

/** How far the bytes of an upload can be read. */
export interface UploadGrowth {
  /** From its start; nobody has verified them. */
  readonly writtenBytes: number
  /** Where the body that is coming in will end; absent when its client has not said. */
  readonly declaredBytes?: number
  /** What its client says that it will be; absent while that is not said. */
  readonly declared?: Digest
}

export type UploadOutcome =
  /** It has become this blob, which is held. */
  | { readonly kind: 'blob'; readonly digest: Digest; readonly sizeBytes: number }
  /** Cancelled, expired, broken or refused: its bytes are removed. */
  | { readonly kind: 'gone' }

/**
 * Asked after each portion of a body: before what it gives settles, no more of that body is read. It
 * must not reject.
 */
export type Pacer = (upload: Upload) => Promise<void> | undefined

/** Where others hear of uploads while they come in, and slow them down. */
export class UploadTap {
  readonly #grown: Listeners<[Upload, UploadGrowth]>
  readonly #ended: Listeners<[Upload, UploadOutcome]>
  #pacer: Pacer = () => undefined

  constructor(log: Log) {
    this.#grown = new Listeners(log)
    this.#ended = new Listeners(log)
  }

  /** Calls the listener when bytes of an upload can be read, and once when its first body begins. */
  onGrown(listener: (upload: Upload, growth: UploadGrowth) => void): () => void {
    return this.#grown.add(listener)
  }

  /** Calls the listener when an upload has ended, whether or not it ever grew. */
  onEnded(listener: (upload: Upload, outcome: UploadOutcome) => void): () => void {
    return this.#ended.add(listener)
  }

  /** There is one pacer at a time; a client that waits for it does not time out. */
  setPacer(pacer: Pacer): void {
    this.#pacer = pacer
  }

  tellGrown(upload: Upload, growth: UploadGrowth): void {
    this.#grown.tell(upload, growth)
  }

  tellEnded(upload: Upload, outcome: UploadOutcome): void {
    this.#ended.tell(upload, outcome)
  }

  pace(upload: Upload): Promise<void> | undefined {
    return this.#pacer(upload)
  }
}
