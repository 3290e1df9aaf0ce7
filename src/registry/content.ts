import type { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import type { ParsedManifest } from '../manifest.ts'
import type { Repository, Tag } from './names.ts'

/** A blob that can be given now, from here or from a peer. */
export interface BlobContent {
  readonly sizeBytes: number
  /**
   * Opens the bytes from `start` up to, not including, `end`. It settles once bytes can flow, so
   * that whoever promises them to a client can keep the promise. Destroying the stream frees all.
   */
  open(range?: { start: number; end: number }): Promise<Readable>
}

/** A manifest exactly as it was pushed. */
export interface ManifestContent {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

/** An upload in progress; `offset` is how many bytes are stored. */
export interface UploadSession {
  readonly id: string
  readonly offset: number
}

/** A part of a list in byte order: `limit` names at most, all greater than `after`. */
export interface Page {
  readonly after?: string
  readonly limit: number
}

/**
 * What the registry serves and where it puts what is pushed: the port that the composition of store,
 * records and peers implements. Absence is `undefined`; errors are `StarlingError`s, and those that
 * a method may throw beside our own faults are named on it. A signal aborts when the client is gone.
 */
export interface Content {
  /** @returns `undefined` when it is nowhere. May throw `UNAVAILABLE` when its holders are all away. */
  blob(
    repository: Repository,
    digest: Digest,
    signal: AbortSignal
  ): Promise<BlobContent | undefined>

  /** Whether the blob can be given now. Never throws `UNAVAILABLE`: a client that misses it pushes it. */
  hasBlob(
    repository: Repository,
    digest: Digest,
    signal: AbortSignal
  ): Promise<{ readonly sizeBytes: number } | undefined>

  /** May throw `UNAVAILABLE`. */
  manifest(
    repository: Repository,
    reference: Digest | Tag,
    signal: AbortSignal
  ): Promise<ManifestContent | undefined>

  /** As {@link manifest}, but only if all that it reaches can be given now: pushers skip what is here. */
  headManifest(
    repository: Repository,
    reference: Digest | Tag,
    signal: AbortSignal
  ): Promise<ManifestContent | undefined>

  /**
   * Stores a manifest and, when `reference` is a tag, points the tag at it. Settles when that is
   * acknowledged as widely as was promised; `warnings` say what of the promise is still owed.
   * Throws `MANIFEST_BLOB_UNKNOWN` with the missing digests as detail, or `UNAVAILABLE`.
   */
  putManifest(
    repository: Repository,
    reference: Digest | Tag,
    manifest: ParsedManifest,
    signal: AbortSignal
  ): Promise<{ readonly warnings: readonly string[] }>

  /** @returns `undefined` when there is no such repository. */
  tags(repository: Repository, page: Page): Promise<readonly string[] | undefined>

  repositories(page: Page): Promise<readonly string[]>

  /**
   * Makes a blob that is held for `from`, or for any repository, one of this repository.
   * @returns false when it cannot; the client uploads it then.
   */
  mount(repository: Repository, digest: Digest, from: Repository | undefined): Promise<boolean>

  /** Throws `TOOMANYREQUESTS` above the bound of open sessions. */
  createUpload(repository: Repository): Promise<UploadSession>

  /** Throws `BLOB_UPLOAD_UNKNOWN`, also when the session is of another repository. */
  upload(repository: Repository, id: string): Promise<UploadSession>

  /**
   * Appends a body, no faster than it is stored. Throws `RANGE_INVALID` when `start` is not where
   * the session ends (which survives), `SIZE_INVALID` when the body is not of `lengthBytes`,
   * `BLOB_UPLOAD_INVALID` when another writer is at work, `BLOB_UPLOAD_UNKNOWN`. When the body
   * breaks off, what arrived is kept and the body's error is thrown.
   */
  appendUpload(
    repository: Repository,
    id: string,
    body: AsyncIterable<Uint8Array>,
    options: { readonly start?: number; readonly lengthBytes?: number }
  ): Promise<UploadSession>

  /** Verifies, commits and ends the session. Throws `DIGEST_INVALID`, `BLOB_UPLOAD_UNKNOWN`. */
  finishUpload(repository: Repository, id: string, digest: Digest): Promise<void>

  /** Throws `BLOB_UPLOAD_UNKNOWN`. */
  cancelUpload(repository: Repository, id: string): Promise<void>
}
