import type { Digest } from '../digest.ts'
import type { RepositoryClient } from './repository-client.ts'

/** An image as the index of a layout lists it. */
export interface LayoutImage {
  readonly mediaType: string
  readonly digest: Digest
  readonly sizeBytes: number
  readonly annotations: Readonly<Record<string, string>>
}

/** What images are pushed from: a directory, or an archive. */
export interface ImageSource {
  /** What it is called in messages. */
  readonly where: string
  readonly images: readonly LayoutImage[]
  /** The bytes of a manifest, not verified; `undefined` when it is not in here. */
  manifest(digest: Digest): Promise<Buffer | undefined>
  /**
   * Sees to it that a repository has a blob.
   *
   * @returns how many bytes were sent for it, in here or before; `undefined` when neither has it
   */
  give(digest: Digest, to: RepositoryClient): Promise<number | undefined>
}
