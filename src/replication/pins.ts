import type { Digest } from '../digest.ts'

/** Blobs that a request of a client is working with: they stay until it has ended. */
export class Pins {
  readonly #counts = new Map<Digest, number>()

  has(digest: Digest): boolean {
    return this.#counts.has(digest)
  }

  /** Pins the blobs before the task begins and until it has ended, however it does. */
  async during<Result>(digests: readonly Digest[], task: () => Promise<Result>): Promise<Result> {
    for (const digest of digests) this.#counts.set(digest, (this.#counts.get(digest) ?? 0) + 1)
    try {
      return await task()
    } finally {
      for (const digest of digests) this.#release(digest)
    }
  }

  #release(digest: Digest): void {
    const count = this.#counts.get(digest) ?? 0
    if (count > 1) this.#counts.set(digest, count - 1)
    else this.#counts.delete(digest)
  }
}
