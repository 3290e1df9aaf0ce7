import { ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { descriptorOf, type Kernel, kernel } from '../kernel.ts'
import { buffers } from './buffers.ts'
import type { Fill } from './send-range.ts'
import { Steps } from './steps.ts'

/** Bytes of a file that go out in order. */
export interface FileBytes {
  readonly sizeBytes: number
  /** Reads what comes next. */
  readonly fill: Fill
  /** Moves up to so many of what comes next into a socket; gives how many went. */
  readonly move: (kernel: Kernel, socket: number, maxBytes: number) => Promise<number>
}

/** Below it the ordinary way is as quick. */
const MIN_BYTES = 1024 * 1024

/**
 * In one call: what may still leave when damage is found meanwhile, and what a slow disk has a thread
 * of Node's pool for. With 64 MiB a pull is no quicker (`bench pull`).
 */
const MAX_MOVE_BYTES = 16 * 1024 * 1024

/** Written the ordinary way when a connection is full: that is how to wait until it takes more. */
const WAITING_BYTES = 64 * 1024

/** In a row, after which the ordinary way goes on alone: the kernel cannot, or helps others. */
const MAX_IDLE_MOVES = 8

/**
 * A reader that lets us wait so long goes the ordinary way, too: Node sees how far each of its own
 * writes has come, and so tells a slow reader from one that is gone.
 */
const SLOW_MS = 500

/**
 * Lets the kernel move bytes of a file into the connection of an answer for as long as that is of
 * use; what is left then goes the ordinary way. It takes half the processor time of reading and
 * writing, and no memory (`bench pull`). Nothing can be put around bytes that go so: the connection
 * must be plain, and the answer must have told its length.
 *
 * Throws when the writable fails or closes first, or when the file breaks off.
 */
export async function sendByKernel(
  bytes: FileBytes,
  to: Writable,
  onBytes: (count: number) => void
): Promise<void> {
  if (bytes.sizeBytes < MIN_BYTES || !isFramed(to)) return
  const found = kernel()
  if (found === undefined) return
  const steps = new Steps(to)
  const buffer = buffers.take(WAITING_BYTES)
  let held: HeldSocket | undefined
  let isSlow = false
  let isOver = false
  try {
    for (let idleMoves = 0; idleMoves < MAX_IDLE_MOVES && !isSlow; ) {
      const filled = await steps.take(bytes.fill(buffer))
      if (filled === undefined) break
      const slow = setTimeout(() => {
        isSlow = true
      }, SLOW_MS)
      await steps.write(filled).finally(() => clearTimeout(slow))
      onBytes(filled.length)
      // Not before the head is out: until then the connection may be that of an earlier answer.
      held ??= HeldSocket.of(to, found)
      if (held === undefined) break
      let movedBytes: number
      do {
        const moving = bytes.move(found, held.descriptor, MAX_MOVE_BYTES)
        held.usedUntil(moving)
        movedBytes = await steps.take(moving)
        onBytes(movedBytes)
        idleMoves = movedBytes === 0 ? idleMoves + 1 : 0
      } while (movedBytes === MAX_MOVE_BYTES)
    }
    isOver = true
  } finally {
    steps.end()
    held?.letGo()
    if (isOver) buffers.giveBack(buffer)
    else buffers.drop(buffer)
  }
}

/** Whether the answer has told its length, so that nothing is put around its bytes. */
function isFramed(to: Writable): to is ServerResponse {
  return to instanceof ServerResponse && !to.chunkedEncoding && to.hasHeader('content-length')
}

/**
 * The socket of an answer by a descriptor of our own: were the connection closed while bytes are
 * moved, its number could become another connection.
 */
class HeldSocket {
  readonly descriptor: number
  readonly #kernel: Kernel
  #use: Promise<unknown> = Promise.resolve()
  #isHeld = true

  static of(to: ServerResponse, found: Kernel): HeldSocket | undefined {
    // Whose turn it is, and so whether bytes must be encrypted, shows only once the head has left.
    if (to.socket === null || to.socket instanceof TLSSocket) return undefined
    const socket = descriptorOf(to.socket)
    const descriptor = socket === undefined ? -1 : found.duplicate(socket)
    return descriptor < 0 ? undefined : new HeldSocket(descriptor, found)
  }

  private constructor(descriptor: number, found: Kernel) {
    this.descriptor = descriptor
    this.#kernel = found
  }

  usedUntil(end: Promise<unknown>): void {
    this.#use = end
  }

  /** Closes the descriptor as soon as nobody uses it any more. */
  letGo(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    const close = () => this.#kernel.close(this.descriptor)
    this.#use.then(close, close)
  }
}
