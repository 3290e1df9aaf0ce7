import { constants } from 'node:crypto'
import type { CommonConnectionOptions, SecureContextOptions, TLSSocket } from 'node:tls'
import { type Credentials, fingerprintOf } from './certificate.ts'

/**
 * What both ends of the blob plane set. Neither end lets Node judge the other: Node skips its
 * identity check for self-signed certificates and for resumed sessions, and refuses certificates by
 * date. Each end compares {@link peerFingerprint} with a pin instead, on every connection.
 */
export function tlsOptions(
  credentials: Credentials
): SecureContextOptions & CommonConnectionOptions {
  return {
    key: credentials.key,
    cert: credentials.cert,
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    // The cheapest cipher first: every byte of every blob passes through it.
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256',
    secureOptions: constants.SSL_OP_NO_TICKET
  }
}

/** The fingerprint of the certificate whose key the other end has proved to own in this handshake. */
export function peerFingerprint(socket: TLSSocket): string | undefined {
  // A resumed session proves nothing anew, and we never offer one.
  if (socket.isSessionReused()) return undefined
  const certificate = socket.getPeerX509Certificate()
  return certificate === undefined ? undefined : fingerprintOf(certificate)
}
