import type { Digest } from '../digest.ts'

/** What an image is written into: a directory, or an archive. */
export interface ImageSink {
  has(digest: Digest): boolean
  /** Stores a blob; throws `DIGEST_INVALID` when it is not what its digest and size say. */
  write(digest: Digest, sizeBytes: number, bytes: AsyncIterable<Buffer>): Promise<void>
  /** Makes it a whole: until then it is none. */
  finish(): Promise<void>
  /** Leaves nothing behind that looks like an image. */
  abandon(): Promise<void>
}
