import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { ByteRange } from '../store/range-stream.ts'

export interface OutlastingOptions {
  /** The bytes of the blob that are wanted; `way` begins with the first of them. */
  readonly range: ByteRange
  /** Settles once the blob is held, whichever way it has come; rejects when it does not come. */
  readonly held: () => Promise<void>
  /** Bytes of the blob once it is held. */
  readonly read: (range: ByteRange) => Promise<Readable>
}

/**
 * A stream of a blob on its way here that outlasts the way. When that breaks off, because whoever
 * gave it died, the blob comes another way, and the rest is read from it once it is held and
 * verified. What has left by then is compared with it first: nobody gets the beginning of one thing
 * and the end of another (P3). Fails as the way did where it does not come, or is not the same.
 */
export function outlasting(way: Readable, options: OutlastingOptions): Readable {
  const stream = Readable.from(bytesOf(way, options), { objectMode: false })
  // A reader that leaves while bytes are waited for would otherwise be noticed when they come.
  return stream.once('close', () => way.destroy())
}

async function* bytesOf(
  way: Readable,
  { range: { start, end }, held, read }: OutlastingOptions
): AsyncGenerator<Buffer, void> {
  const left = createHash('sha256')
  let position = start
  // Read by hand: what the way throws is to be outlasted, and what the reader throws is not.
  const reader: AsyncIterator<Buffer> = way[Symbol.asyncIterator]()
  for (;;) {
    const next = await reader.next().catch((cause: unknown) => ({ cause }))
    if ('cause' in next) {
      // A way that was destroyed without an error has lost its reader.
      if (way.errored === null) throw next.cause
      await held().catch(() => {
        throw next.cause
      })
      const sent = await digestOf(await read({ start, end: position }))
      if (!sent.equals(left.digest())) throw next.cause
      break
    }
    if (next.done) return
    left.update(next.value)
    position += next.value.length
    yield next.value
  }
  yield* await read({ start: position, end })
}

async function digestOf(bytes: AsyncIterable<Buffer>): Promise<Buffer> {
  const hash = createHash('sha256')
  for await (const chunk of bytes) hash.update(chunk)
  return hash.digest()
}
