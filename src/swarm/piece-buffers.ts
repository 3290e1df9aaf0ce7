const KiB = 1024
const MiB = 1024 * KiB

/** The smallest that is worth keeping; each greater class is twice as large. */
const MIN_BYTES = 256 * KiB

/** What is kept for the next pieces, so that their pages need not be asked for again. */
const MAX_IDLE_BYTES = 32 * MiB

/** Memory for pieces on their way from a peer to the disk, used over and over. */
export class PieceBuffers {
  readonly #idle = new Map<number, Buffer[]>()
  #idleBytes = 0

  /** A buffer of so many bytes, and the function to give it back with, which may be called again. */
  take(bytes: number): { readonly buffer: Buffer; readonly release: () => void } {
    const size = classOf(bytes)
    let whole = this.#idle.get(size)?.pop()
    if (whole === undefined) whole = Buffer.allocUnsafeSlow(size)
    else this.#idleBytes -= size
    const release = () => {
      if (whole !== undefined) this.#keep(whole)
      whole = undefined
    }
    return { buffer: whole.subarray(0, bytes), release }
  }

  #keep(whole: Buffer): void {
    if (this.#idleBytes + whole.length > MAX_IDLE_BYTES) return
    this.#idleBytes += whole.length
    const idle = this.#idle.get(whole.length) ?? []
    this.#idle.set(whole.length, idle)
    idle.push(whole)
  }
}

function classOf(bytes: number): number {
  let size = MIN_BYTES
  while (size < bytes) size *= 2
  return size
}
