import { StarlingError } from '../errors.ts'

/** What a client is asked to wait when the answer may be another one soon. */
const RETRY_AFTER_SECONDS = 1

/** The error for what cannot be answered now and perhaps can be in a moment. */
export function unavailable(message: string, cause?: unknown): StarlingError {
  return new StarlingError('UNAVAILABLE', message, {
    cause,
    retryAfterSeconds: RETRY_AFTER_SECONDS
  })
}
