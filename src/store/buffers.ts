const KiB = 1024

/**
 * From 128 KiB to 4 MiB no size was faster by more than the runs differ (`bench pull`: 1.4-2.8 GB/s
 * on two shared cores), nor were more buffers ahead, so it is a small one that costs little memory;
 * with 64 KiB the hops between threads begin to show.
 */
const LARGE_BYTES = 256 * KiB

/** For those that come when all large ones are out: many slow readers must not fill the memory. */
const SMALL_BYTES = 64 * KiB

/** 32 MiB, enough for 64 transfers at once. */
const MAX_LARGE_OUT = 128

/** What is kept for the next transfer, so that their pages need not be asked for again. */
const MAX_IDLE = 16

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
