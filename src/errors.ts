/**
 * The error vocabulary. An error is thrown where it is found, with its code, a sentence that says
 * what happened to what, and the cause; it is translated once, at the edge that meets the client
 * (`registry/errors.ts` for HTTP, `main.ts` for the command line). Codes are matched, never texts.
 *
 * The codes in the first block are those of the OCI distribution specification, "Error Codes".
 */
export const ERROR_CODES = {
  BLOB_UNKNOWN: 'no such blob in this repository',
  BLOB_UPLOAD_INVALID: 'an upload that cannot go on',
  BLOB_UPLOAD_UNKNOWN: 'no such upload session',
  DIGEST_INVALID: 'a digest that is malformed or does not match the bytes',
  MANIFEST_BLOB_UNKNOWN: 'a manifest names something that is not here',
  MANIFEST_INVALID: 'a manifest that cannot be accepted',
  MANIFEST_UNKNOWN: 'no such manifest in this repository',
  NAME_INVALID: 'a repository name that is malformed',
  NAME_UNKNOWN: 'no such repository',
  SIZE_INVALID: 'a length that does not match the bytes',
  UNAUTHORIZED: 'credentials are needed',
  DENIED: 'the credentials do not allow this',
  UNSUPPORTED: 'the operation is not supported',
  TOOMANYREQUESTS: 'a limit is reached; try again later',
  RANGE_INVALID: 'a range that does not fit',
  PAGINATION_NUMBER_INVALID: 'a page size that is not a number from 0',
  TAG_INVALID: 'a tag that is malformed',
  UNAVAILABLE: 'cannot be answered now; try again later',
  UNKNOWN: 'an error of our own',

  CONFIG_INVALID: 'settings that cannot work',
  DATA_LOCKED: 'another process uses the data directory',
  DATA_DAMAGED: 'stored data that fails its check',
  DISK_FAILED: 'the disk refused a write or a sync',
  DISK_FULL: 'no room left on the data file system',
  PEER_FAILED: 'a peer did not answer as it should',
  PEER_REFUSED: 'a peer that is not of this cluster, or does not speak our protocol',
  RECORD_INVALID: 'a record that does not decode or breaks its limits',
  CLOSED: 'asked of something already closed'
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface ErrorOptionsWithDetail extends ErrorOptions {
  /** What the error is about, for machines: a digest, a name, a limit. */
  readonly detail?: unknown
  /** How long a client should wait before it tries again. */
  readonly retryAfterSeconds?: number
}

export class StarlingError extends Error {
  override readonly name = 'StarlingError'
  readonly code: ErrorCode
  readonly detail: unknown
  readonly retryAfterSeconds: number | undefined

  constructor(code: ErrorCode, message: string, options: ErrorOptionsWithDetail = {}) {
    super(message, options)
    this.code = code
    this.detail = options.detail
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** Whether an error is ours and has this code. */
export function isCode(error: unknown, code: ErrorCode): error is StarlingError {
  return error instanceof StarlingError && error.code === code
}

/** The code of an operating system error (`ENOENT`, `ENOSPC`), if it is one. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : undefined
}
