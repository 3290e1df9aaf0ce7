import type { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import type { Urgency } from './schedule/messages.ts'

/** A live member that may hold a blob, and how its blob plane is reached and recognised. */
export interface Holder {
  /** The peer id. */
  readonly id: string
  readonly name: string
  readonly host: string
  readonly port: number
  /** The fingerprint of its transfer certificate, as told over the mesh: the pin. */
  readonly fingerprint: string
}

/** A holder's answer: what it says the size is, and the bytes from `start` on. None is verified. */
export interface Fetched {
  readonly sizeBytes: number
  /** Must be read to its end or destroyed; it fails when the holder breaks off. */
  readonly body: Readable
}

export interface AskOptions {
  /** Bytes that a client waits for go before others where there is a limit; by default nobody waits. */
  readonly urgency?: Urgency
  /** To the head of the answer, if that is to be sooner than for any holder. */
  readonly answerTimeoutMs?: number
}

/** How many small blobs come from a holder by one request. */
export interface BatchFetcher {
  /**
   * Asks a holder for blobs, as many as a batch may have; see `readEntries` for the answer. The
   * signal ends the wait and the body. `undefined` when the holder does not know of batches. Throws
   * as {@link Fetcher.open}.
   */
  openBatch(
    holder: Holder,
    digests: readonly Digest[],
    signal: AbortSignal,
    options?: Pick<AskOptions, 'answerTimeoutMs'>
  ): Promise<Readable | undefined>
}

/** How bytes come from a holder. A seam: the bench holds other transports against HTTPS. */
export interface Fetcher {
  /**
   * Asks a holder for a blob from the byte `start` on. The signal ends the wait and the body. Throws `BLOB_UNKNOWN` when the holder has no such blob, `PEER_REFUSED` when it does not own the
   * pinned certificate, `PEER_FAILED` when it is busy, silent or does not answer by our protocol.
   */
  open(
    holder: Holder,
    digest: Digest,
    start: number,
    signal: AbortSignal,
    options?: AskOptions
  ): Promise<Fetched>
  /** Ends every transfer under way. */
  close(): Promise<void>
}
