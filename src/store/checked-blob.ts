import { algorithmOf, type Digest, digestOf } from '../digest.ts'

/** The bytes of a small blob, compared with its digest. */
export class CheckedBlob {
  readonly digest: Digest
  readonly bytes: Uint8Array

  /** `undefined` when the bytes are not those of the digest. */
  static of(digest: Digest, bytes: Uint8Array): CheckedBlob | undefined {
    if (digestOf(bytes, algorithmOf(digest)) !== digest) return undefined
    return new CheckedBlob(digest, bytes)
  }

  private constructor(digest: Digest, bytes: Uint8Array) {
    this.digest = digest
    this.bytes = bytes
  }
}
