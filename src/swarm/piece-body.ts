import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { StarlingError } from '../errors.ts'
import { STALL_LIMITS, StallWatch } from './stall.ts'

export interface PieceReading {
  readonly onBytes: (bytes: number) => void
  /** Asked after each portion; no more is read before what it gives has resolved. */
  readonly pace: (bytes: number) => Promise<void> | undefined
}

/** Large enough that a limit costs little, small enough to be passed through evenly. */
const PORTION_BYTES = 64 * 1024

/**
 * Fills the buffer with the body of an answer, which must be as long, and gives its SHA-256. Throws
 * `PEER_FAILED` when the peer breaks off or stalls; nothing is written to the buffer after that.
 */
export function readPiece(
  response: IncomingMessage,
  buffer: Buffer,
  { onBytes, pace }: PieceReading
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    let at = 0
    let unpacedBytes = 0
    let isOver = false
    const watch = new StallWatch(STALL_LIMITS, () => fail(broken('stalled')))
    const fail = (error: Error) => {
      if (isOver) return
      isOver = true
      watch.stop()
      response.destroy()
      reject(error)
    }
    watch.waiting()
    response.on('data', (chunk: Buffer) => {
      if (isOver) return
      if (at + chunk.length > buffer.length) return fail(broken('sent too much'))
      hash.update(chunk)
      buffer.set(chunk, at)
      at += chunk.length
      watch.received(chunk.length)
      watch.waiting()
      onBytes(chunk.length)
      unpacedBytes += chunk.length
      if (unpacedBytes < PORTION_BYTES) return
      const wait = pace(unpacedBytes)
      unpacedBytes = 0
      if (wait === undefined) return
      // Whoever is not asked for bytes is not stalling.
      watch.resting()
      response.pause()
      void wait.then(() => {
        watch.waiting()
        response.resume()
      })
    })
    response.once('end', () => {
      if (at < buffer.length) return fail(broken('sent too little'))
      isOver = true
      watch.stop()
      resolve(hash.digest())
    })
    response.once('error', error => fail(broken('broke off', error)))
    response.once('close', () => fail(broken('broke off')))
  })
}

function broken(how: string, cause?: Error): StarlingError {
  return new StarlingError('PEER_FAILED', `the peer ${how} within a piece`, { cause })
}
