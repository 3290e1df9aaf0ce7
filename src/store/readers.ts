import type { Digest } from '../digest.ts'
import type { BlobFile } from './blob-file.ts'

/** The files that streams read from, so that they can be stopped when the bytes prove wrong. */
export class Readers {
  readonly #files = new Map<Digest, Set<BlobFile>>()

  add(digest: Digest, file: BlobFile): void {
    const files = this.#files.get(digest) ?? new Set<BlobFile>()
    this.#files.set(digest, files.add(file))
  }

  remove(digest: Digest, file: BlobFile): void {
    const files = this.#files.get(digest)
    if (files?.delete(file) && files.size === 0) this.#files.delete(digest)
  }

  /** No byte more goes to whoever reads the blob now. */
  condemn(digest: Digest): void {
    for (const file of this.#files.get(digest) ?? []) file.condemn()
  }
}
