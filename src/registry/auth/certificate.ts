import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { isUserName } from './principal.ts'

/** A connection is of one client for as long as it lives, and asking OpenSSL is not cheap. */
const users = new WeakMap<Socket, { readonly user: string | undefined }>()

/**
 * The user that a connection's client certificate names: the common name of its subject. Only a
 * certificate that the client authority vouches for counts, and others never get this far.
 */
export function userOfCertificate(socket: Socket): string | undefined {
  const known = users.get(socket)
  if (known !== undefined) return known.user
  const user = readUser(socket)
  users.set(socket, { user })
  return user
}

function readUser(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined
  const name: unknown = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' && isUserName(name) ? name : undefined
}
