import type { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import type { Fetched, Fetcher, Holder } from './fetcher.ts'
import { type StallLimits, StallWatch } from './stall.ts'

/** How one holder's turn went, up to the point where only verification can tell more. */
export type Received =
  /** Every byte up to the size it announced was taken. */
  | { readonly kind: 'complete'; readonly sizeBytes: number; readonly bytes: number }
  /** Its size is not the one that others told, and no byte was taken: somebody is wrong. */
  | { readonly kind: 'disputed' }
  | {
      readonly kind: 'unknown' | 'failed' | 'stalled' | 'wrong'
      /** How many were taken. */
      readonly bytes: number
      readonly error: unknown
    }

export interface ReceiveOptions {
  readonly holder: Holder
  readonly digest: Digest
  readonly start: number
  readonly fetcher: Fetcher
  readonly signal: AbortSignal
  readonly limits: StallLimits
  /** Judges the announced size before a byte is taken. */
  readonly agree: (sizeBytes: number) => 'yes' | 'disputed' | 'wrong'
  /** Takes a chunk for good. */
  readonly take: (chunk: Uint8Array) => Promise<void>
}

/** Takes what one holder gives from `start` on. Throws what `take` throws and the signal's reason. */
export async function receive(options: ReceiveOptions): Promise<Received> {
  const { holder, digest, start, fetcher, signal, limits, agree } = options
  let fetched: Fetched
  try {
    const answerTimeoutMs = limits.stallTimeoutMs
    fetched = await fetcher.open(holder, digest, start, signal, { answerTimeoutMs })
  } catch (error) {
    signal.throwIfAborted()
    return { kind: isCode(error, 'BLOB_UNKNOWN') ? 'unknown' : 'failed', bytes: 0, error }
  }
  const { sizeBytes, body } = fetched
  try {
    const agreement = agree(sizeBytes)
    if (agreement === 'disputed') return { kind: 'disputed' }
    if (agreement === 'wrong') return { kind: 'wrong', bytes: 0, error: wrongSize(holder) }
    return await drain(body, sizeBytes, options)
  } finally {
    body.destroy()
  }
}

async function drain(
  body: Readable,
  sizeBytes: number,
  { holder, start, signal, limits, take }: ReceiveOptions
): Promise<Received> {
  let bytes = 0
  let stalled = false
  const watch = new StallWatch(limits, () => {
    stalled = true
    body.destroy(new StarlingError('PEER_FAILED', `${holder.name} stalled`))
  })
  // Read by hand, since what the body throws is the holder's fault and what `take` throws is not.
  const reader: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]()
  try {
    for (;;) {
      let next: IteratorResult<Uint8Array>
      try {
        watch.waiting()
        next = await reader.next()
      } catch (error) {
        signal.throwIfAborted()
        return { kind: stalled ? 'stalled' : 'failed', bytes, error }
      }
      signal.throwIfAborted()
      if (next.done) break
      const { length } = next.value
      watch.received(length)
      if (start + bytes + length > sizeBytes) {
        return { kind: 'wrong', bytes, error: wrongSize(holder) }
      }
      await take(next.value)
      bytes += length
    }
  } finally {
    watch.stop()
  }
  if (start + bytes === sizeBytes) return { kind: 'complete', sizeBytes, bytes }
  return { kind: 'failed', bytes, error: wrongSize(holder) }
}

function wrongSize(holder: Holder): StarlingError {
  return new StarlingError(
    'SIZE_INVALID',
    `${holder.name} gives another number of bytes than is due`
  )
}
