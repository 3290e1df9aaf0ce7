import { type ErrorCode, StarlingError } from '../errors.ts'

/** An error as the client sees it. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The JSON body of OCI distribution-spec, "Error Codes". */
  readonly body: Buffer
  /** Whether it is our own fault, for an operator to look at. */
  readonly ours: boolean
}

/** An error for which the specification wants another status than its code usually has. */
export class StatusError extends StarlingError {
  readonly status: number

  constructor(status: number, code: ErrorCode, message: string) {
    super(code, message)
    this.status = status
  }
}

const OUR_FAULT = { status: 500, code: 'UNKNOWN' } as const
const TRY_AGAIN = { status: 503, code: 'UNAVAILABLE' } as const

/** The status of each code, and the code that clients know it by where ours says too much. */
const ANSWERS: Readonly<Record<ErrorCode, { status: number; code?: ErrorCode }>> = {
  BLOB_UNKNOWN: { status: 404 },
  BLOB_UPLOAD_INVALID: { status: 400 },
  BLOB_UPLOAD_UNKNOWN: { status: 404 },
  DIGEST_INVALID: { status: 400 },
  MANIFEST_BLOB_UNKNOWN: { status: 400 },
  MANIFEST_INVALID: { status: 400 },
  MANIFEST_UNKNOWN: { status: 404 },
  NAME_INVALID: { status: 400 },
  NAME_UNKNOWN: { status: 404 },
  SIZE_INVALID: { status: 400 },
  UNAUTHORIZED: { status: 401 },
  DENIED: { status: 403 },
  UNSUPPORTED: { status: 405 },
  TOOMANYREQUESTS: { status: 429 },
  RANGE_INVALID: { status: 416 },
  PAGINATION_NUMBER_INVALID: { status: 400 },
  TAG_INVALID: { status: 400 },
  UNAVAILABLE: TRY_AGAIN,
  UNKNOWN: OUR_FAULT,

  CONFIG_INVALID: OUR_FAULT,
  DATA_LOCKED: OUR_FAULT,
  DATA_DAMAGED: OUR_FAULT,
  DISK_FAILED: OUR_FAULT,
  // Not 5xx: clients try those again and again, and a full disk does not empty by itself.
  DISK_FULL: { status: 413, code: 'DENIED' },
  PEER_FAILED: TRY_AGAIN,
  PEER_REFUSED: TRY_AGAIN,
  RECORD_INVALID: OUR_FAULT,
  CLOSED: TRY_AGAIN
}

/** For those that do not say it themselves: long enough to let a peer come back, short of a time-out. */
const RETRY_AFTER_SECONDS = 2

/** Translates whatever a handler threw; the only place where errors become HTTP. */
export function answerFor(error: unknown): ErrorAnswer {
  if (error instanceof StarlingError) return answerOurs(error)
  const status = statusOf(error)
  return status >= 400 && status < 500
    ? answer(status, [
        { code: status === 413 ? 'SIZE_INVALID' : 'UNSUPPORTED', message: messageOf(error) }
      ])
    : answer(500, [{ code: 'UNKNOWN', message: 'an error of the registry' }])
}

function answerOurs(error: StarlingError): ErrorAnswer {
  const known = ANSWERS[error.code]
  const status = error instanceof StatusError ? error.status : known.status
  const retry =
    error.retryAfterSeconds ?? (status === 503 || status === 429 ? RETRY_AFTER_SECONDS : undefined)
  // Our own faults name files and peers, which are not the client's business.
  const message = status === 500 ? 'an error of the registry' : error.message
  const detail = known.code === undefined ? error.detail : undefined
  const code = known.code ?? error.code
  return answer(
    status,
    code === 'MANIFEST_BLOB_UNKNOWN' && Array.isArray(detail)
      ? detail.slice(0, MAX_ERRORS).map(each => ({ code, message, detail: each }))
      : [{ code, message, detail }],
    retry === undefined ? {} : { 'retry-after': String(Math.ceil(retry)) }
  )
}

/** A manifest may name tens of thousands of blobs, and clients show what they are told. */
const MAX_ERRORS = 100

/** One entry of the body. */
interface ErrorEntry {
  readonly code: ErrorCode
  readonly message: string
  readonly detail?: unknown
}

function answer(
  status: number,
  errors: readonly ErrorEntry[],
  headers: Record<string, string> = {}
): ErrorAnswer {
  return {
    status,
    headers: { ...headers, 'content-type': 'application/json' },
    // A Buffer, not an object: Fastify adds "; charset=utf-8" to what it serialises itself.
    body: Buffer.from(JSON.stringify({ errors })),
    ours: status === 500
  }
}

/** Errors of Fastify itself, such as a malformed Content-Type, carry their status. */
function statusOf(error: unknown): number {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : 500
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'an error of the request'
}
