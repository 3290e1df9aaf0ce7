import { StarlingError, systemCode } from './errors.ts'

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something else listens there',
  EADDRNOTAVAIL: 'that is not an address of this machine',
  EACCES: 'that takes rights which this process does not have'
}

/**
 * `CONFIG_INVALID`, in the same words for every port.
 *
 * @param what the flag that says where to listen
 * @param where `host:port`
 */
export function cannotListen(what: string, where: string, cause: unknown): StarlingError {
  const code = codeOf(cause)
  const reason = (code && REASONS[code]) ?? 'it is taken or not an address of this machine'
  const message = `${what}: cannot listen on ${where}: ${reason}${code ? ` (${code})` : ''}`
  return new StarlingError('CONFIG_INVALID', message, { cause })
}

/** The code of the system, also where several attempts failed together. */
function codeOf(cause: unknown): string | undefined {
  if (cause instanceof AggregateError) return cause.errors.map(codeOf).find(Boolean)
  return systemCode(cause)
}
