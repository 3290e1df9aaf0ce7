import type { IncomingMessage } from 'node:http'
import { ROUTES } from '../path.ts'
import { SERVICE } from './tokens.ts'

export interface Challenge {
  /** What a client could log in with; in the order in which it should try. */
  readonly schemes: readonly ('basic' | 'bearer')[]
  /** What a token would have to be for. */
  readonly scope?: string
  readonly error?: 'insufficient_scope' | 'invalid_token'
}

/**
 * The `WWW-Authenticate` fields of a 401, one for each scheme: oras reads only the first of them,
 * and would stumble over two in one field. Realms are quoted, as docker's parser demands.
 *
 * @param publicUrl how clients see this registry, when that is not what their requests say
 */
export function challengeHeaders(
  { schemes, scope, error }: Challenge,
  request: IncomingMessage,
  publicUrl: URL | undefined
): readonly string[] {
  return schemes.flatMap(scheme => {
    if (scheme === 'basic') return ['Basic realm="Starling"']
    const realm = tokenUrl(request, publicUrl)
    if (realm === undefined) return []
    const parameters = { realm, service: SERVICE, scope, error }
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined)
    return [`Bearer ${given.map(([name, value]) => `${name}="${value}"`).join(',')}`]
  })
}

/** A name or an address, and a port: nothing that could end the quotes or lead elsewhere. */
const HOST = /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/

/**
 * Clients want the whole URL, and send their password there. It is made of what the client itself
 * said and of how it is connected, never of `X-Forwarded-*`, which anyone can send. Behind a proxy
 * that ends TLS the operator has to say it.
 */
function tokenUrl(request: IncomingMessage, publicUrl: URL | undefined): string | undefined {
  if (publicUrl !== undefined) return new URL(ROUTES.token, publicUrl).href
  const host = request.headers.host ?? ''
  if (!HOST.test(host)) return undefined
  return `${isEncrypted(request) ? 'https' : 'http'}://${host}${ROUTES.token}`
}

function isEncrypted({ socket }: IncomingMessage): boolean {
  return 'encrypted' in socket && socket.encrypted === true
}
