import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/**
 * The smallest HTTP clients that can be: what they cost is the same for every server, and little,
 * so that it is the servers that are compared. They know what they asked for and what must come.
 */

/** As large as the kernel gives at a time, so that the puller is never the slower side. */
const READ_BUFFER_BYTES = 1024 * 1024

/**
 * Gets a path on a new connection and drops the body where it arrives.
 *
 * @returns how long it took from sending the request to the last byte, in seconds
 * @throws when the answer is not 200 with so many bytes
 */
export async function pull(port: number, path: string, sizeBytes: number): Promise<number> {
  const { promise: done, resolve, reject } = Promise.withResolvers<void>()
  let head = ''
  let bodyBytes = -1
  const take = (bytes: number, buffer: Uint8Array): boolean => {
    if (bodyBytes >= 0) {
      bodyBytes += bytes
    } else {
      head += Buffer.from(buffer.buffer, buffer.byteOffset, bytes).toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end >= 0) bodyBytes = head.length - end - 4
    }
    if (bodyBytes >= sizeBytes) resolve()
    return true
  }
  const socket = connect({
    port,
    host: '127.0.0.1',
    onread: { buffer: Buffer.alloc(READ_BUFFER_BYTES), callback: take }
  })
  socket.once('error', reject)
  socket.once('close', () => reject(new Error(`closed after ${bodyBytes} bytes of the body`)))
  await once(socket, 'connect')
  const startedMs = performance.now()
  socket.write(requestHead('GET', path))
  await done
  const seconds = (performance.now() - startedMs) / 1000
  socket.destroy()
  if (!head.startsWith('HTTP/1.1 200 ')) throw new Error(`${path}: ${statusLine(head)}`)
  if (bodyBytes !== sizeBytes) throw new Error(`${path}: ${bodyBytes} bytes`)
  return seconds
}

/**
 * Puts a body on a new connection, as fast as it is taken.
 *
 * @returns how long it took from sending the request to the answer, in seconds
 * @throws when the answer is not 201
 */
export async function push(
  port: number,
  path: string,
  sizeBytes: number,
  body: Iterable<Uint8Array>
): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1' })
  await once(socket, 'connect')
  const answered = once(socket, 'data')
  const startedMs = performance.now()
  socket.write(requestHead('PUT', path, `Content-Length: ${sizeBytes}\r\n`))
  for (const piece of body) {
    if (!socket.write(piece)) await Promise.race([once(socket, 'drain'), answered])
  }
  const [answer] = await answered
  const seconds = (performance.now() - startedMs) / 1000
  socket.destroy()
  if (!String(answer).startsWith('HTTP/1.1 201 ')) throw new Error(`${path}: ${statusLine(answer)}`)
  return seconds
}

/**
 * Asks for the same thing again and again on kept-alive connections, each of which sends its next
 * request when it has the answer to the one before.
 *
 * @returns requests answered per second, after a warm-up
 * @throws when an answer is not 200, or not of the same length as the first
 */
export async function hammer(
  port: number,
  request: { readonly method: 'GET' | 'HEAD'; readonly path: string },
  load: { readonly connections: number; readonly warmUpMs: number; readonly runMs: number }
): Promise<number> {
  const bytes = Buffer.from(requestHead(request.method, request.path), 'latin1')
  const answerBytes = await lengthOfAnswer(port, bytes, request.method)
  const lanes = await Promise.all(
    Array.from({ length: load.connections }, () => Lane.open(port, bytes, answerBytes))
  )
  try {
    const failed = Promise.race(lanes.map(lane => lane.failed))
    for (const lane of lanes) lane.next()
    await Promise.race([failed, elapsed(load.warmUpMs)])
    const before = lanes.reduce((sum, lane) => sum + lane.answered, 0)
    const startedMs = performance.now()
    await Promise.race([failed, elapsed(load.runMs)])
    const answered = lanes.reduce((sum, lane) => sum + lane.answered, 0) - before
    return answered / ((performance.now() - startedMs) / 1000)
  } finally {
    for (const lane of lanes) lane.close()
  }
}

/** One connection of {@link hammer}; it counts the bytes that come, and looks at the first few. */
class Lane {
  answered = 0
  readonly failed: Promise<never>
  readonly #socket: Socket
  readonly #request: Buffer
  readonly #answerBytes: number
  #leftBytes = 0

  static async open(port: number, request: Buffer, answerBytes: number): Promise<Lane> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Lane(socket, request, answerBytes)
  }

  private constructor(socket: Socket, request: Buffer, answerBytes: number) {
    const { promise, reject } = Promise.withResolvers<never>()
    promise.catch(() => undefined)
    this.failed = promise
    this.#socket = socket
    this.#request = request
    this.#answerBytes = answerBytes
    socket.on('error', reject)
    socket.on('data', chunk => {
      if (this.#leftBytes === answerBytes && !isOk(chunk)) reject(new Error(statusLine(chunk)))
      this.#leftBytes -= chunk.length
      if (this.#leftBytes < 0) reject(new Error('an answer of another length'))
      if (this.#leftBytes !== 0) return
      this.answered += 1
      this.next()
    })
  }

  next(): void {
    this.#leftBytes = this.#answerBytes
    this.#socket.write(this.#request)
  }

  close(): void {
    this.#socket.destroy()
  }
}

async function lengthOfAnswer(port: number, request: Buffer, method: string): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1' })
  socket.write(request)
  let answer = ''
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    answer += chunk.toString('latin1')
    const end = answer.indexOf('\r\n\r\n')
    if (end < 0) continue
    const bodyBytes = method === 'HEAD' ? 0 : Number(/content-length: (\d+)/i.exec(answer)?.[1])
    if (answer.length >= end + 4 + bodyBytes) return end + 4 + bodyBytes
  }
  throw new Error(`no whole answer: ${statusLine(answer)}`)
}

function requestHead(method: string, path: string, headers = ''): string {
  return `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/vnd.oci.image.manifest.v1+json, */*\r\n${headers}\r\n`
}

/** "HTTP/1.1 200": the byte after "HTTP/1.1 " and those around it. */
function isOk(chunk: Buffer): boolean {
  return chunk[9] === 0x32 && chunk[10] === 0x30 && chunk[11] === 0x30
}

function statusLine(head: unknown): string {
  return String(head).split('\r\n', 1)[0] ?? ''
}

function elapsed(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
