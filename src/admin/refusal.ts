import type { IncomingMessage } from 'node:http'
import { isAbsolute } from 'node:path'
import { StarlingError, systemCode } from '../errors.ts'

/** What answers is no node, or one of another version. */
export function refusal(where: string, what: string, cause?: unknown): StarlingError {
  const message = `what listens at ${where} is not a node of this version: ${what}`
  return new StarlingError('UNSUPPORTED', message, { cause })
}

/** Every answer of a registry says so (distribution-spec, "Legacy Docker support HTTP headers"). */
export function isOfRegistry({ headers }: IncomingMessage): boolean {
  return headers['docker-distribution-api-version'] !== undefined
}

/** Commands that ask about a node talk to its admin port, those that move images to its registry. */
export function wrongPort(where: string, wanted: 'admin' | 'registry'): StarlingError {
  const message =
    wanted === 'admin'
      ? `${where} is a registry; here --url takes the admin address of a node, whose port is 5051 unless set`
      : `${where} is no registry; here --url takes the registry address of a node, whose port is 5050 unless set`
  return new StarlingError('UNSUPPORTED', message)
}

/** The user and the password of a URL are sent as HTTP Basic. */
export function locked(where: string, statusCode: 401 | 403, url: URL): StarlingError {
  const user = decodeURIComponent(url.username)
  if (statusCode === 403) {
    const who = user === '' ? 'anonymous clients' : user
    return new StarlingError('DENIED', `the node at ${where} does not allow this to ${who}`)
  }
  const why =
    user === ''
      ? 'wants a user and a password'
      : `does not know the user ${user}, or not with this password`
  const way = `give them as --url ${where.replace('://', '://USER:PASSWORD@')}`
  return new StarlingError('DENIED', `the node at ${where} ${why}: ${way}`)
}

/** Nobody answers, or nobody whom this machine trusts. */
export function unreachable(where: string, cause: unknown, why?: string): StarlingError {
  const code = systemCode(cause)
  const advice = code === undefined ? undefined : adviceOn(code)
  const reason = why ?? code ?? String(cause)
  const way = isAbsolute(where) && code !== undefined ? wayToSocket(code) : undefined
  const message =
    advice === undefined
      ? `no node answers at ${where}: ${reason}${way === undefined ? '' : `; ${way}`}`
      : `${where}: ${advice} (${code})`
  return new StarlingError('UNAVAILABLE', message, { cause })
}

/** What to do when nobody can be talked to through the socket in a data directory. */
function wayToSocket(code: string): string | undefined {
  if (code === 'EACCES') return 'ask as the user who runs the node'
  // A node that was killed leaves its socket behind, which then refuses.
  if (code !== 'ENOENT' && code !== 'ECONNREFUSED') return undefined
  return 'start one with `serve`, or give --data of one that runs, or --url where a command takes it'
}

/** Node.js's names of what OpenSSL finds wrong (tls, "X509 certificate error codes"). */
const UNTRUSTED =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_(GET_ISSUER_CERT(_LOCALLY)?|VERIFY_LEAF_SIGNATURE))$/
const NO_TLS = /^(EPROTO|ERR_SSL_.*)$/

/** What to do about a failure that its code alone does not explain; also of other HTTPS servers. */
export function adviceOn(code: string): string | undefined {
  if (UNTRUSTED.test(code)) {
    const variable = 'NODE_EXTRA_CA_CERTS=/path/to/ca.pem'
    return `its certificate is signed by nobody known here; if it is the right one, set ${variable}, or that certificate's own file, in the environment`
  }
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired and is to be renewed'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return 'its certificate is for another name; use a name or address that is in the certificate'
  }
  return NO_TLS.test(code) ? 'it speaks no TLS; try http:// instead of https://' : undefined
}
