import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { generate } from 'selfsigned'

/** One way to run a registry, and what the suite must know to speak to it. */
export interface Variant {
  readonly name: string
  readonly flags: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

const USER = { OCI_USERNAME: 'ann', OCI_PASSWORD: 'a password of this run only' }
/** The least there is: here nobody guesses passwords. */
const BCRYPT_COST = 4

/** The kind of a name in a certificate (RFC 5280, `GeneralName`). */
const IP_ADDRESS = 7

/** With and without users, over HTTP and TLS; files that they need are put into the directory. */
export async function makeVariants(directory: string): Promise<readonly Variant[]> {
  const [htpasswd, cert, key] = ['htpasswd', 'tls.crt', 'tls.key'].map(name =>
    join(directory, name)
  )
  if (htpasswd === undefined || cert === undefined || key === undefined) return []
  const line = `${USER.OCI_USERNAME}:${hashSync(USER.OCI_PASSWORD, BCRYPT_COST)}\n`
  await writeFile(htpasswd, line, { mode: 0o600 })
  const pair = await generate([{ name: 'commonName', value: 'conformance' }], {
    keyType: 'ec',
    extensions: [{ name: 'subjectAltName', altNames: [{ type: IP_ADDRESS, ip: '127.0.0.1' }] }]
  })
  await writeFile(cert, pair.cert)
  await writeFile(key, pair.private, { mode: 0o600 })
  const users = ['--htpasswd', htpasswd]
  const tls = ['--tls-cert', cert, '--tls-key', key]
  // The suite's "insecure" changes nothing; Go finds the certificate to trust by the variable.
  const trusted = { OCI_TLS: 'enabled', SSL_CERT_FILE: cert }
  return [
    { name: 'HTTP, open to all', flags: [], env: {} },
    { name: 'HTTP, with users', flags: users, env: USER },
    { name: 'TLS, open to all', flags: tls, env: trusted },
    { name: 'TLS, with users', flags: [...users, ...tls], env: { ...USER, ...trusted } }
  ]
}
