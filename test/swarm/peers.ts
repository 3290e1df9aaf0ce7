import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type Duplex, Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import { createServer, type TLSSocket } from 'node:tls'
import { type Digest, digestOf } from '../../src/digest.ts'
import { StarlingError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { type Credentials, createCredentials } from '../../src/swarm/certificate.ts'
import type { Sink } from '../../src/swarm/download.ts'
import type { Holder } from '../../src/swarm/fetcher.ts'
import { type FetcherLimits, HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import type { BlobSource } from '../../src/swarm/send-blob.ts'
import { type ServerOptions, TransferServer } from '../../src/swarm/server.ts'
import { tlsOptions } from '../../src/swarm/tls.ts'

/** Certificates of one cluster of two, made once: the one who asks and those who answer. */
export const asker = await createCredentials()
export const stranger = await createCredentials()

export interface Blob {
  readonly digest: Digest
  readonly bytes: Buffer
}

export function makeBlob(sizeBytes: number): Blob {
  const bytes = randomBytes(sizeBytes)
  return { bytes, digest: digestOf(bytes) }
}

/** A source that has the blobs in memory, given out in chunks of 64 KiB. */
export function memorySource(...blobs: readonly Blob[]): BlobSource {
  const held = new Map(blobs.map(({ digest, bytes }) => [digest, bytes]))
  return {
    stat(digest) {
      const bytes = held.get(digest)
      return bytes && { sizeBytes: bytes.length }
    },
    async read(digest, range) {
      const bytes = held.get(digest)
      if (bytes === undefined) throw new StarlingError('BLOB_UNKNOWN', 'not here')
      return Readable.from(slices(bytes.subarray(range?.start ?? 0, range?.end)))
    }
  }
}

function* slices(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

export interface Node extends AsyncDisposable {
  readonly holder: Holder
  readonly server: TransferServer
}

/** A fetcher of {@link asker} that closes with the test. */
export function openFetcher(t: TestContext, limits: Partial<FetcherLimits> = {}): HttpsFetcher {
  const fetcher = new HttpsFetcher({ credentials: asker, limits })
  t.after(() => fetcher.close())
  return fetcher
}

/** An honest node: the real server, which knows {@link asker}. */
export async function startHolder(
  name: string,
  source: BlobSource,
  options: Partial<ServerOptions> = {}
): Promise<Node> {
  const credentials = options.credentials ?? (await createCredentials())
  const server = await TransferServer.open({
    host: '127.0.0.1',
    port: 0,
    credentials,
    source,
    pinned: fingerprint => (fingerprint === asker.fingerprint ? 'asker' : undefined),
    log: silentLog,
    ...options
  })
  return {
    server,
    holder: holderAt(name, server.port, credentials),
    [Symbol.asyncDispose]: () => server.close()
  }
}

/**
 * A node with the right certificate and its own idea of HTTP: `answer` is called with each request
 * head, a body included, and the socket to misuse.
 */
export async function startRogue(
  name: string,
  answer: (head: string, socket: TLSSocket) => void
): Promise<{ readonly holder: Holder; readonly connections: Set<TLSSocket> } & AsyncDisposable> {
  const credentials = await createCredentials()
  const connections = new Set<TLSSocket>()
  const server = createServer(tlsOptions(credentials), socket => {
    connections.add(socket)
    socket.on('close', () => connections.delete(socket))
    socket.on('error', () => {})
    let head = ''
    socket.on('data', chunk => {
      head += chunk
      const [, bodyBytes = 0] = /content-length: (\d+)/i.exec(head) ?? []
      const end = head.indexOf('\r\n\r\n')
      if (end === -1 || head.length < end + 4 + Number(bodyBytes)) return
      const whole = head
      head = ''
      answer(whole, socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    holder: holderAt(name, (server.address() as AddressInfo).port, credentials),
    connections,
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy()
      server.close()
      await once(server, 'close')
    }
  }
}

/** A node that gives these blobs, until the test is over. */
export async function honest(context: TestContext, ...blobs: readonly Blob[]): Promise<Holder> {
  const node = await startHolder('honest', memorySource(...blobs))
  context.after(() => node[Symbol.asyncDispose]())
  return node.holder
}

/** A node that gives other bytes in place of a blob, as many as are asked for. */
export async function liar(context: TestContext, { bytes }: Blob): Promise<Holder> {
  const lying = await startRogue('lying', (head, socket) => {
    const { head: right, start } = rightHead(head, bytes.length)
    socket.write(right)
    socket.write(randomBytes(bytes.length - start))
  })
  context.after(() => lying[Symbol.asyncDispose]())
  return lying.holder
}

export function holderAt(name: string, port: number, { fingerprint }: Credentials): Holder {
  return { id: name, name, host: '127.0.0.1', port, fingerprint }
}

/** Waits for the end of a socket or stream; unlike `once`, content when that is an error. */
export function closed(stream: Duplex | Readable): Promise<void> {
  return new Promise(resolve => stream.once('close', () => resolve()))
}

/** The head of a right answer to the request, and the byte from which the body is due. */
export function rightHead(request: string, sizeBytes: number): { head: string; start: number } {
  const start = Number(/range: bytes=(\d+)-/i.exec(request)?.[1] ?? 0)
  const status = start === 0 ? '200 OK' : '206 Partial Content'
  const range = start === 0 ? '' : `content-range: bytes ${start}-${sizeBytes - 1}/${sizeBytes}\r\n`
  return {
    head: `HTTP/1.1 ${status}\r\n${range}content-length: ${sizeBytes - start}\r\n\r\n`,
    start
  }
}

/** A sink in memory that verifies as the store does, and remembers what it was asked. */
export class MemorySink implements Sink {
  readonly committed: Buffer[] = []
  resets = 0
  readonly #digest: Digest
  #chunks: Buffer[] = []

  constructor(digest: Digest, earlier: Buffer = Buffer.alloc(0)) {
    this.#digest = digest
    this.#chunks.push(earlier)
  }

  get offset(): number {
    return this.#chunks.reduce((sum, { length }) => sum + length, 0)
  }

  async append(chunk: Uint8Array): Promise<void> {
    this.#chunks.push(Buffer.from(chunk))
    // As the store does, which makes every later look at the chunk a failure.
    const { buffer } = chunk
    const isAlone = buffer instanceof ArrayBuffer && buffer.byteLength === chunk.byteLength
    if (isAlone) buffer.transfer(0)
  }

  async commit(): Promise<void> {
    const bytes = Buffer.concat(this.#chunks)
    if (digestOf(bytes) !== this.#digest) throw new StarlingError('DIGEST_INVALID', 'not the blob')
    this.committed.push(bytes)
  }

  async reset(): Promise<void> {
    this.resets++
    this.#chunks = []
  }
}
