import { ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { buffers } from './buffers.ts'
import { Steps } from './steps.ts'

/** Fills the buffer as far as it can, and gives the part that it filled; nothing at the end. */
export type Fill = (buffer: Buffer) => Promise<Buffer | undefined>

/** TLS holds the ciphertext of a write beside it: with more, a node that feeds others grows by a tenth. */
const MAX_ENCRYPTED_BYTES = 2 * 1024 * 1024

/**
 * Writes bytes to where they are wanted by way of two buffers: one is filled while the other
 * leaves. The writable's word that a write is done is waited for before a buffer is filled again,
 * so nobody may keep what it is given. The writable is not ended.
 *
 * Throws when the writable fails or closes first, or when `fill` throws.
 */
export async function sendRange(
  fill: Fill,
  sizeBytes: number,
  to: Writable,
  onBytes: (count: number) => void
): Promise<void> {
  const steps = new Steps(to)
  const wantedBytes = isPlain(to) ? sizeBytes : Math.min(sizeBytes, MAX_ENCRYPTED_BYTES)
  let empty = buffers.take(wantedBytes)
  let full = buffers.take(wantedBytes)
  let isOver = false
  try {
    let filled = await steps.take(fill(full))
    while (filled !== undefined) {
      // Begun before the write, which the kernel's copying makes half a millisecond long:
      // the other way round the disk waits for it, and 11 % is lost (`bench pull`).
      const filling = fill(empty)
      // What goes wrong here is met below, unless the writable fails before that.
      filling.catch(() => undefined)
      await steps.write(filled)
      onBytes(filled.length)
      filled = await steps.take(filling)
      ;[empty, full] = [full, empty]
    }
    isOver = true
  } finally {
    steps.end()
    for (const buffer of [empty, full]) {
      if (isOver) buffers.giveBack(buffer)
      else buffers.drop(buffer)
    }
  }
}

/** Whether it is an answer that goes to the kernel as it is. */
function isPlain(to: Writable): boolean {
  return to instanceof ServerResponse && !(to.socket instanceof TLSSocket)
}
