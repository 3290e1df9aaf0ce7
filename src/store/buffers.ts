const KiB = 1024
const MiB = 1024 * KiB

/**
 * What one write gives the kernel, and one hop to the thread pool reads: the threads' waking of each
 * other costs more than the processor's cache saves. A GiB pulled costs 0.60 s of processor with
 * 256 KiB, 0.45 with 1 MiB, 0.42 with 2 MiB, 0.38 with 4 and with 8 MiB (`bench pull`); a third
 * buffer for a transfer gained nothing.
 */
const LARGEST_BYTES = 4 * MiB

/** For those that come when all else is out: many slow readers must not fill the memory. */
const SMALLEST_BYTES = 64 * KiB

/** What all buffers but the smallest may take. */
const MAX_OUT_BYTES = 32 * MiB

/** Nobody takes more of what is left: a few transfers have large buffers, many have smaller ones. */
const SHARE_OF_REST = 1 / 7

/** What is kept for the next transfer, so that their pages need not be asked for again. */
const MAX_IDLE_BYTES = 8 * MiB

/** Buffers for bytes on their way from a file to a socket, used over and over. */
export class Buffers {
  readonly #idle: Buffer[] = []
  #idleBytes = 0
  #outBytes = 0

  /** A buffer for a transfer of so many bytes; it may be smaller. Give it back, or {@link drop} it. */
  take(bytes: number): Buffer {
    if (bytes <= SMALLEST_BYTES) return Buffer.allocUnsafeSlow(bytes)
    const fair = (MAX_OUT_BYTES - this.#outBytes) * SHARE_OF_REST
    const sizeBytes = powerOfTwo(Math.min(bytes, LARGEST_BYTES, fair))
    if (sizeBytes <= SMALLEST_BYTES) return Buffer.allocUnsafeSlow(SMALLEST_BYTES)
    this.#outBytes += sizeBytes
    return this.#takeIdle(sizeBytes) ?? Buffer.allocUnsafeSlow(sizeBytes)
  }

  /** Nobody reads or writes the buffer any more. */
  giveBack(buffer: Buffer): void {
    this.drop(buffer)
    if (buffer.length <= SMALLEST_BYTES || this.#idleBytes + buffer.length > MAX_IDLE_BYTES) return
    this.#idle.push(buffer)
    this.#idleBytes += buffer.length
  }

  /** The buffer may still be in use, but by nobody who can be waited for. */
  drop(buffer: Buffer): void {
    if (buffer.length > SMALLEST_BYTES) this.#outBytes -= buffer.length
  }

  #takeIdle(sizeBytes: number): Buffer | undefined {
    const index = this.#idle.findLastIndex(({ length }) => length === sizeBytes)
    if (index < 0) return undefined
    this.#idleBytes -= sizeBytes
    return this.#idle.splice(index, 1)[0]
  }
}

/** Those of this process, since it is the memory of the process that they bound. */
export const buffers = new Buffers()

/** The largest power of two that is not larger: few sizes, so that buffers fit the next transfer. */
function powerOfTwo(bytes: number): number {
  return 2 ** Math.floor(Math.log2(bytes))
}
