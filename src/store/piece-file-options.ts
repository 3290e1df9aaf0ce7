import type { Algorithm, Digest } from '../digest.ts'
import type { BlobStat, Verified } from './partial.ts'
import type { PiecePlace } from './piece-storage.ts'

/** What a `PieceFile` is opened with. */
export interface PieceFileOptions extends PiecePlace {
  /** Of every piece but the last. */
  readonly pieceBytes: number
  /** Of the blob; absent while it still grows somewhere. */
  readonly sizeBytes?: number
  /** Hashed as the file fills up; another one costs a second reading at commit. */
  readonly algorithm: Algorithm
  /** Dirty bytes are sent to the disk in portions of this size; 64 MiB by default. */
  readonly syncEveryBytes?: number
  /** Makes it a blob under its digest, or drops it when that blob is held. */
  readonly settle: (digest: Digest, verified: Verified) => Promise<BlobStat>
  /** Called once it is no longer open: its name is free. */
  readonly ended: () => void
  readonly signal?: AbortSignal
}
