import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { generate } from 'selfsigned'

export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** A certificate, signed by an authority or by itself. */
export async function certificate(name: string, authority?: KeyPair): Promise<KeyPair> {
  const pems = await generate([{ name: 'commonName', value: name }], {
    ...{ keyType: 'ec', algorithm: 'sha256' },
    extensions: [
      { name: 'basicConstraints', cA: authority === undefined, critical: true },
      { name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }
    ],
    ...(authority && { ca: authority })
  })
  return { cert: pems.cert, key: pems.private }
}

/** Files of TLS in a temporary directory, and how to put others in their place. */
export async function certificateFiles(t: TestContext, pair: KeyPair, clientCa?: KeyPair) {
  const directory = await mkdtemp(join(tmpdir(), 'starling-tls-'))
  t.after(() => rm(directory, { recursive: true }))
  const files = {
    cert: join(directory, 'tls.crt'),
    key: join(directory, 'tls.key'),
    ...(clientCa && { clientCa: join(directory, 'ca.crt') })
  }
  const write = async (next: Partial<KeyPair>, nextCa?: KeyPair) => {
    if (next.cert !== undefined) await writeFile(files.cert, next.cert)
    if (next.key !== undefined) await writeFile(files.key, next.key)
    if (nextCa !== undefined) await writeFile(join(directory, 'ca.crt'), nextCa.cert)
  }
  await write(pair, clientCa)
  return { files, write }
}
