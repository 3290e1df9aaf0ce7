import type { Readable, Writable } from 'node:stream'
import type { Algorithm, Digest } from '../digest.ts'
import type { ParsedManifest } from '../manifest.ts'
import type { Repository, Tag } from './names.ts'

/** A blob that can be given now, from here or from a peer. */
export interface BlobContent {
  readonly sizeBytes: number
  /**
   * Opens the bytes from `start` up to, not including, `end`. It settles once bytes can flow, so
   * that whoever promises them to a client can keep the promise. Destroying the stream frees all.
   */
  open(range?: { start: number; end: number }): Promise<BlobStream>
}

/** The bytes of a blob, which may know a quicker way out than being read. */
export interface BlobStream extends Readable {
  /**
   * Writes all that would be read, then destroys the stream; a write must be done with its bytes
   * when it says so. Throws when either side breaks off. `onBytes` is told what has left.
   */
  sendTo?(to: Writable, onBytes: (count: number) => void): Promise<void>
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
  /** Who began it; `''` when nobody had to say. */
  readonly owner: string
}

/** A change that was made; `warnings` say what of the promise that goes with it is still owed. */
export interface Acknowledged {
  readonly warnings: readonly string[]
}

/** An entry of a referrers list, with the fields that the specification gives it. */
export interface ReferrerDescriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
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

  /**
   * Whether the blob can be given now. A pusher, who will not send it then, finds it there still
   * when its manifest comes; that one who may only pull asks again and again keeps nothing. Never
   * throws `UNAVAILABLE`: a client that misses it pushes it.
   */
  hasBlob(
    repository: Repository,
    digest: Digest,
    asker: 'pusher' | 'puller'
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
   * Stores a manifest and points the tags at it, all in one. Settles when that is acknowledged as
   * widely as was promised, or there is a reason not to wait for that. Throws
   * `MANIFEST_BLOB_UNKNOWN` with the missing digests as detail, `MANIFEST_INVALID`, `UNAVAILABLE`.
   */
  putManifest(
    repository: Repository,
    tags: readonly Tag[],
    manifest: ParsedManifest,
    signal: AbortSignal
  ): Promise<Acknowledged>

  /** Deletes a tag and nothing else; `undefined` when there is none. May throw `UNAVAILABLE`. */
  deleteTag(repository: Repository, tag: Tag): Promise<Acknowledged | undefined>

  /**
   * Takes a manifest out of a repository, and all tags that point at it.
   * @returns `undefined` when it is not there. May throw `UNAVAILABLE`.
   */
  deleteManifest(repository: Repository, digest: Digest): Promise<Acknowledged | undefined>

  /**
   * Takes a blob out of a repository. Throws `UNSUPPORTED` while a manifest there needs it.
   * @returns `undefined` when it is not there. May throw `UNAVAILABLE`.
   */
  deleteBlob(repository: Repository, digest: Digest): Promise<Acknowledged | undefined>

  /**
   * The manifests of a repository that have this subject, which need not exist, in the order of
   * their digests and after one of them. Reads on only as far as it is iterated.
   */
  referrers(
    repository: Repository,
    subject: Digest,
    after: string | undefined,
    signal: AbortSignal
  ): AsyncIterable<ReferrerDescriptor>

  /** @returns `undefined` when there is no such repository. */
  tags(repository: Repository, page: Page): Promise<readonly string[] | undefined>

  repositories(page: Page): Promise<readonly string[]>

  /**
   * Makes a blob of `from` one of this repository; without `from`, a blob of any repository that
   * the client may pull from.
   * @returns false when it cannot; the client uploads it then.
   */
  mount(
    repository: Repository,
    digest: Digest,
    from: Repository | undefined,
    mayPull: (from: Repository) => boolean
  ): Promise<boolean>

  /** Throws `TOOMANYREQUESTS` above the bound of open sessions, `DISK_FULL`. */
  createUpload(
    repository: Repository,
    options: { readonly owner: string; readonly algorithm?: Algorithm }
  ): Promise<UploadSession>

  /** Throws `BLOB_UPLOAD_UNKNOWN`, also when the session is of another repository. */
  upload(repository: Repository, id: string): Promise<UploadSession>

  /**
   * Appends a body, no faster than it is stored; its chunks are given away, and nobody may look at
   * them again. Throws `RANGE_INVALID` when `start` is not where
   * the session ends (which survives), `SIZE_INVALID` when the body is not of `lengthBytes`,
   * `BLOB_UPLOAD_INVALID` when another writer is at work, `BLOB_UPLOAD_UNKNOWN`, `DISK_FULL`, at
   * once when `lengthBytes` says that it will not fit. When the body breaks off, what arrived is
   * kept and the body's error is thrown. `digest` is what is to come, if known,
   * and `algorithm` its own.
   */
  appendUpload(
    repository: Repository,
    id: string,
    body: AsyncIterable<Uint8Array>,
    options: {
      readonly start?: number
      readonly lengthBytes?: number
      readonly algorithm?: Algorithm
      readonly digest?: Digest
    }
  ): Promise<UploadSession>

  /** Verifies, commits and ends the session. Throws `DIGEST_INVALID`, `BLOB_UPLOAD_UNKNOWN`. */
  finishUpload(repository: Repository, id: string, digest: Digest): Promise<void>

  /** Throws `BLOB_UPLOAD_UNKNOWN`. */
  cancelUpload(repository: Repository, id: string): Promise<void>
}
