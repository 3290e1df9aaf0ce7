import { StarlingError } from '../errors.ts'

/** What answers is no node, or one of another version. */
export function refusal(where: string, what: string, cause?: unknown): StarlingError {
  const message = `what listens at ${where} is not a node of this version: ${what}`
  return new StarlingError('UNSUPPORTED', message, { cause })
}

/** The user and the password of a URL are sent as HTTP Basic. */
export function locked(where: string): StarlingError {
  const way = 'http://user:password@host:port'
  return new StarlingError('DENIED', `the node at ${where} wants other credentials; --url ${way}`)
}
