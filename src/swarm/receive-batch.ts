import type { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { type Entry, readEntries } from './batch.ts'
import type { BatchFetcher, Holder } from './fetcher.ts'
import { type StallLimits, StallWatch } from './stall.ts'

export interface ReceiveBatchOptions {
  readonly holder: Holder
  readonly digests: readonly Digest[]
  readonly fetcher: BatchFetcher
  readonly signal: AbortSignal
  readonly limits: StallLimits
}

/**
 * What one holder gives of some small blobs, in their order; it may leave out the last ones, never
 * all. Throws `UNSUPPORTED` when it does not know of batches, `PEER_FAILED` when it stalls or breaks
 * off, and the signal's reason.
 */
export async function* receiveBatch(options: ReceiveBatchOptions): AsyncGenerator<Entry> {
  const { holder, digests, fetcher, signal, limits } = options
  const body = await fetcher.openBatch(holder, digests, signal, {
    answerTimeoutMs: limits.stallTimeoutMs
  })
  if (body === undefined) {
    throw new StarlingError('UNSUPPORTED', `${holder.name} does not know of batches`)
  }
  const stalled = new StarlingError('PEER_FAILED', `${holder.name} stalled`)
  const watch = new StallWatch(limits, () => body.destroy(stalled))
  let count = 0
  try {
    for await (const entry of readEntries(watched(body, watch), digests)) {
      count += 1
      yield entry
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof StarlingError) throw error
    throw new StarlingError('PEER_FAILED', `${holder.name} broke off`, { cause: error })
  } finally {
    watch.stop()
    body.destroy()
  }
  if (count === 0) throw new StarlingError('PEER_FAILED', `${holder.name} gave no answer`)
}

async function* watched(body: Readable, watch: StallWatch): AsyncGenerator<Buffer> {
  watch.waiting()
  for await (const chunk of body) {
    watch.received(chunk.length)
    yield chunk
    watch.waiting()
  }
}
