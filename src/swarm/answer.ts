import type { IncomingMessage } from 'node:http'
import { StarlingError } from '../errors.ts'
import type { Holder } from './fetcher.ts'

/** What the head of a holder's response says, once it is found to follow our protocol. */
export type Answer =
  /** The body has all the bytes from the start asked for to the end of the blob. */
  | { readonly kind: 'bytes'; readonly sizeBytes: number }
  /** The blob ends at or before the start asked for: there is no body worth reading. */
  | { readonly kind: 'ended'; readonly sizeBytes: number }

/**
 * Reads the head of a response to `GET /blobs/<digest>` from the byte `start` on. Throws
 * `BLOB_UNKNOWN` when the holder has no such blob, else `PEER_FAILED`.
 */
export function readAnswer(response: IncomingMessage, holder: Holder, start: number): Answer {
  const { statusCode: status, headers } = response
  if (status === 404) {
    throw new StarlingError('BLOB_UNKNOWN', `${holder.name} does not hold the blob`)
  }
  if (status === 503) {
    const seconds = wholeNumber(headers['retry-after']) ?? DEFAULT_RETRY_SECONDS
    throw new StarlingError('PEER_FAILED', `${holder.name} is busy`, { retryAfterSeconds: seconds })
  }

  const length = wholeNumber(headers['content-length'])
  if (status === 200 && start === 0 && length !== undefined) {
    return { kind: 'bytes', sizeBytes: length }
  }
  const range = CONTENT_RANGE.exec(headers['content-range'] ?? '')
  const sizeBytes = wholeNumber(range?.[3])
  if (status === 416 && sizeBytes !== undefined && sizeBytes <= start) {
    return { kind: 'ended', sizeBytes }
  }
  if (
    status === 206 &&
    sizeBytes !== undefined &&
    wholeNumber(range?.[1]) === start &&
    wholeNumber(range?.[2]) === sizeBytes - 1 &&
    length === sizeBytes - start
  ) {
    return { kind: 'bytes', sizeBytes }
  }
  throw new StarlingError(
    'PEER_FAILED',
    `${holder.name} answers ${status} to a range from ${start}`
  )
}

/** For a busy holder that does not say. */
const DEFAULT_RETRY_SECONDS = 1

/** RFC 9110, section 14.4: `bytes 5-9/10`, or and an asterisk in place of `5-9` for a range outside of the blob. */
const CONTENT_RANGE = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+)$/

/** Only digits, and few enough that the number is exact. */
function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
