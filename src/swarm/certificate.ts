import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import type { Log } from '../log.ts'
import { readSmallFile, replaceSmallFile } from '../small-file.ts'

/** The key and the self-signed certificate with which a node meets its peers on the blob plane. */
export interface Credentials {
  /** PEM. */
  readonly key: string
  /** PEM. */
  readonly cert: string
  /** What peers pin, told to them over the authenticated mesh: {@link fingerprintOf} the certificate. */
  readonly fingerprint: string
}

/**
 * The credentials kept in `transfer.key` and `transfer.crt` of the data directory, made there when
 * they are absent, damaged or do not belong together: peers learn the fingerprint anew with each
 * connection, so new ones cost nothing but the warning.
 */
export async function openCredentials(options: {
  readonly dataDir: string
  readonly log: Log
}): Promise<Credentials> {
  const { dataDir, log } = options
  const keyPath = join(dataDir, 'transfer.key')
  const certPath = join(dataDir, 'transfer.crt')
  const key = await textOf(keyPath)
  const cert = await textOf(certPath)
  if (key !== undefined && cert !== undefined) {
    const kept = paired(key, cert)
    if (kept !== undefined) return kept
    log.warn({ keyPath, certPath }, 'transfer certificate unusable, made anew')
  }
  const made = await createCredentials()
  await replaceSmallFile(keyPath, made.key, 0o600)
  await replaceSmallFile(certPath, made.cert, 0o644)
  return made
}

/** New credentials, kept nowhere. Nobody reads the dates: a pin is what makes them good. */
export async function createCredentials(
  validity: { readonly from: Date; readonly until: Date } = ALL_OF_TIME
): Promise<Credentials> {
  // Needed once in the life of a node, it would take 80 ms of every start (`npm run prove -- many-blobs`).
  const { generate } = await import('selfsigned')
  const pair = await generate([{ name: 'commonName', value: 'starling' }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    notBeforeDate: validity.from,
    notAfterDate: validity.until
  })
  return {
    key: pair.private,
    cert: pair.cert,
    fingerprint: fingerprintOf(new X509Certificate(pair.cert))
  }
}

/** The SHA-256 of the certificate's DER, in lower-case hexadecimal digits without separators. */
export function fingerprintOf(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex')
}

/** RFC 5280, section 4.1.2.5: the last moment of 9999 means "no well-defined expiration date". */
const ALL_OF_TIME = { from: new Date(0), until: new Date('9999-12-31T23:59:59Z') }

/** A restart between the two writes leaves a key beside another's certificate: not a pair. */
function paired(key: string, cert: string): Credentials | undefined {
  try {
    const certificate = new X509Certificate(cert)
    if (!certificate.checkPrivateKey(createPrivateKey(key))) return undefined
    return { key, cert, fingerprint: fingerprintOf(certificate) }
  } catch {
    return undefined
  }
}

async function textOf(path: string): Promise<string | undefined> {
  return (await readSmallFile(path))?.toString('utf8')
}
