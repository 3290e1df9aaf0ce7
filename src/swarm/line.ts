import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { StarlingError } from '../errors.ts'
import type { Holder } from './fetcher.ts'
import type { Gathering } from './gathering.ts'
import { connectPinned } from './pinned-socket.ts'
import { MAX_HEAD_BYTES, type Reply, readReply } from './reply.ts'

export interface LineOptions {
  readonly holder: Holder
  readonly tls: ConnectionOptions
  readonly connectTimeoutMs: number
  readonly gathering: Gathering
  readonly signal: AbortSignal
}

/** Takes the body of an answer. A chunk is gone once the call returns; a promise holds back the next. */
export type TakeChunk = (chunk: Buffer) => Promise<void> | undefined

/** OpenSSL hands out a record of 16 KiB at a time. */
const READ_BYTES = 64 * 1024

/**
 * A pinned connection that carries one request for a piece after the other. It speaks just as much
 * HTTP as that takes: Node's own client copies each 16 KiB of a body twice into memory of its own,
 * which costs 2 s of processor for each GiB, most of it for collecting that memory again.
 */
export class Line {
  readonly #socket: TLSSocket
  readonly #host: string
  readonly #gathering: Gathering
  #state: State = IDLE
  #head = Buffer.alloc(0)

  /** Throws `PEER_REFUSED` when the holder shows another certificate, else `PEER_FAILED`. */
  static open(options: LineOptions): Promise<Line> {
    const { holder, tls, connectTimeoutMs, gathering, signal } = options
    return new Promise((resolve, reject) => {
      let line: Line | undefined
      // `onread` is read by `tls.connect` but missing from its types.
      const onread = {
        buffer: Buffer.allocUnsafeSlow(READ_BYTES),
        callback: (count: number, buffer: Buffer) => line?.read(buffer.subarray(0, count)) ?? true
      }
      const reading = { ...tls, noDelay: true, onread }
      connectPinned({ holder, tls: reading, connectTimeoutMs, signal }, (error, socket) => {
        if (error !== null) return reject(ofPeer(error))
        line = new Line(socket, holder.host, gathering)
        resolve(line)
      })
    })
  }

  private constructor(socket: TLSSocket, host: string, gathering: Gathering) {
    this.#socket = socket
    this.#host = host
    this.#gathering = gathering
    socket.on('error', error => this.#fail(error))
    socket.on('close', () =>
      this.#fail(new StarlingError('PEER_FAILED', 'the peer closed the connection'))
    )
  }

  /** Whether another request can be made. */
  get isIdle(): boolean {
    return this.#state.kind === 'idle'
  }

  /**
   * Asks for a path, and resolves when the answer is in. `onReply` is called with its head and gives
   * what takes its body; when it gives nothing, a body ends the connection, as any failure does.
   */
  ask(path: string, onReply: (reply: Reply) => TakeChunk | undefined): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#state.kind === 'closed') throw new StarlingError('PEER_FAILED', 'it is closed')
      this.#state = { kind: 'head', onReply, resolve, reject }
      this.#socket.ref()
      this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n\r\n`)
    })
  }

  /** Ends the connection, and what is asked over it. */
  close(reason: Error): void {
    this.#fail(reason)
  }

  /** Called when the connection has closed. */
  onClosed(listener: () => void): void {
    this.#socket.once('close', listener)
  }

  /** Takes what comes in; false when no more is wanted for now. */
  read(chunk: Buffer): boolean {
    this.#gathering.took(this.#socket, chunk.length)
    try {
      switch (this.#state.kind) {
        case 'head':
          return this.#readHead(chunk, this.#state)
        case 'body':
          return this.#readBody(chunk, this.#state)
        case 'idle':
          throw new StarlingError('PEER_FAILED', 'the peer sends what nobody asked for')
        case 'closed':
          return false
      }
    } catch (error) {
      this.#fail(error)
      return false
    }
  }

  #readHead(chunk: Buffer, { onReply, resolve, reject }: AwaitingHead): boolean {
    const bytes = Buffer.concat([this.#head, chunk])
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0 ? bytes.length > MAX_HEAD_BYTES : end > MAX_HEAD_BYTES) {
      throw new StarlingError('PEER_FAILED', 'the head of an answer has no end')
    }
    this.#head = end < 0 ? bytes : Buffer.alloc(0)
    if (end < 0) return true
    const reply = readReply(bytes.toString('latin1', 0, end))
    const take = onReply(reply)
    if (take === undefined && reply.lengthBytes > 0) {
      this.#state = IDLE
      resolve(reply)
      this.#fail(new StarlingError('PEER_FAILED', 'a body that nobody reads'))
      return false
    }
    const body: ReadingBody = {
      kind: 'body',
      leftBytes: reply.lengthBytes,
      take,
      reply,
      resolve,
      reject
    }
    this.#state = body
    return this.#readBody(bytes.subarray(end + 4), body)
  }

  #readBody(chunk: Buffer, body: ReadingBody): boolean {
    if (chunk.length > body.leftBytes) {
      throw new StarlingError('PEER_FAILED', 'the peer sends more than it announced')
    }
    body.leftBytes -= chunk.length
    const wait = chunk.length === 0 ? undefined : body.take?.(chunk)
    if (body.leftBytes === 0) {
      this.#state = IDLE
      // A connection that nobody uses does not keep the process alive.
      this.#socket.unref()
      body.resolve(body.reply)
      if (body.reply.isLast) this.#fail(new Error('the last answer'))
      return true
    }
    if (wait === undefined) return true
    void wait.then(() => this.#socket.resume())
    return false
  }

  #fail(error: unknown): void {
    const state = this.#state
    this.#state = CLOSED
    this.#socket.destroy()
    if (state.kind === 'head' || state.kind === 'body') state.reject(ofPeer(error))
  }
}

/** What the operating system says of a connection is the peer's failure to us. */
function ofPeer(error: unknown): Error {
  if (error instanceof StarlingError) return error
  return new StarlingError('PEER_FAILED', 'the peer broke off', { cause: error })
}

interface AwaitingHead {
  readonly kind: 'head'
  readonly onReply: (reply: Reply) => TakeChunk | undefined
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}

interface ReadingBody {
  readonly kind: 'body'
  leftBytes: number
  readonly take: TakeChunk | undefined
  readonly reply: Reply
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}

const IDLE = { kind: 'idle' } as const

const CLOSED = { kind: 'closed' } as const

type State = typeof IDLE | typeof CLOSED | AwaitingHead | ReadingBody
