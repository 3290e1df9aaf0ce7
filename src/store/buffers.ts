const KiB = 1024

/**
 * What one write gives the kernel, and one hop to the thread pool reads. From 256 KiB to 1 MiB a
 * pull gets 1.2 times as fast and costs 0.43 instead of 0.51 s of processor per GiB; with 2 MiB it
 * gains nothing more that runs agree on (`bench pull`, two cores), and neither do more buffers.
 */
const LARGE_BYTES = 1024 * KiB

/** For those that come when all large ones are out: many slow readers must not fill the memory. */
const SMALL_BYTES = 64 * KiB

/** 32 MiB, enough for 16 transfers at once. */
const MAX_LARGE_OUT = 32

/** What is kept for the next transfer, so that their pages need not be asked for again. */
const MAX_IDLE = 8

/** Buffers for bytes on their way from a file to a socket, used over and over. */
class Buffers {
  readonly #idle: Buffer[] = []
  #largeOut = 0

  /** A buffer for a transfer of so many bytes; it may be smaller. Give it back, or {@link drop} it. */
  take(bytes: number): Buffer {
    if (bytes <= SMALL_BYTES) return Buffer.allocUnsafeSlow(bytes)
    if (this.#largeOut >= MAX_LARGE_OUT) return Buffer.allocUnsafeSlow(SMALL_BYTES)
    this.#largeOut += 1
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES)
  }

  /** Nobody reads or writes the buffer any more. */
  giveBack(buffer: Buffer): void {
    this.drop(buffer)
    if (buffer.length === LARGE_BYTES && this.#idle.length < MAX_IDLE) this.#idle.push(buffer)
  }

  /** The buffer may still be in use, but by nobody who can be waited for. */
  drop(buffer: Buffer): void {
    if (buffer.length === LARGE_BYTES) this.#largeOut -= 1
  }
}

/** Those of this process, since it is the memory of the process that they bound. */
export const buffers = new Buffers()
