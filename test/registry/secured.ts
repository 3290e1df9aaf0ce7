import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import type { TestContext } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { silentLog } from '../../src/log.ts'
import type { RegistryOptions } from '../../src/registry/server.ts'
import { Tls } from '../../src/registry/tls.ts'
import { certificate, certificateFiles, type KeyPair } from './certificates.ts'
import { openRegistry, type Registry } from './fixture.ts'

/** What the registry shows, and who vouches for its clients. */
export const server = await certificate('registry')
export const authority = await certificate('authority')

/** A registry that speaks TLS, and whose files may be written anew. */
export interface Secured extends Registry {
  readonly tls: Tls
  write(next: Partial<KeyPair>, clientCa?: KeyPair): Promise<void>
}

export async function openSecured(
  t: TestContext,
  options: Partial<RegistryOptions> = {},
  clientCa?: KeyPair
): Promise<Secured> {
  const { files, write } = await certificateFiles(t, server, clientCa)
  const tls = await Tls.open(files, silentLog)
  t.after(() => tls.close())
  return { ...(await openRegistry(t, { tls, ...options })), tls, write }
}

/** A request over TLS that trusts the registry's certificate. */
export async function ask(
  registry: Registry,
  path: string,
  options: RequestOptions & { readonly body?: Buffer } = {}
): Promise<IncomingMessage> {
  const { body, ...rest } = options
  const client = request({ host: '127.0.0.1', port: registry.port, path, ca: server.cert, ...rest })
  client.end(body)
  const [response] = await once(client, 'response')
  return response
}

/** A connection over TLS, whoever the registry is. */
export async function openTls(
  t: TestContext,
  registry: Registry,
  options: Partial<KeyPair> = {}
): Promise<TLSSocket> {
  const socket = connectTls({
    ...{ host: '127.0.0.1', port: registry.port, rejectUnauthorized: false, ...options }
  })
  t.after(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

/** Whom the registry's certificate names. */
export async function subjectOf(t: TestContext, registry: Registry): Promise<unknown> {
  const socket = await openTls(t, registry)
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return subject.CN
}
