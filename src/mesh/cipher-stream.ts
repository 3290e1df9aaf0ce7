import { type Cipheriv, createCipheriv, createDecipheriv, type Decipheriv } from 'node:crypto'
import type { AbortOptions, MessageStream } from '@libp2p/interface'
import { AbstractMessageStream, type SendResult } from '@libp2p/utils'

export interface CipherKeys {
  /** 32 bytes of key and 16 of initial counter for what this side sends; used for one stream only. */
  readonly send: Buffer
  readonly receive: Buffer
}

/** Told of bytes on the wire as they pass. */
export type CountBytes = (direction: 'received' | 'sent', bytes: number) => void

type Chunk = Parameters<MessageStream['send']>[0]

/**
 * A stream whose bytes go through AES-256-CTR. It has no length prefix and no tag: the stream inside
 * (Noise) carries its own. Modelled on the encrypted stream of `@libp2p/noise`.
 */
export class CipherStream extends AbstractMessageStream {
  readonly #inner: MessageStream
  readonly #seal: Cipheriv
  readonly #unseal: Decipheriv
  readonly #onBytes: CountBytes
  /** What is sent in one turn, to leave as one packet with one system call. */
  #corked: Uint8Array[] = []

  constructor(inner: MessageStream, keys: CipherKeys, onBytes: CountBytes = () => {}) {
    super({
      log: inner.log,
      inactivityTimeout: inner.inactivityTimeout,
      maxReadBufferLength: inner.maxReadBufferLength,
      direction: inner.direction
    })
    this.#inner = inner
    this.#onBytes = onBytes
    this.#seal = createCipheriv('aes-256-ctr', keys.send.subarray(0, 32), keys.send.subarray(32))
    this.#unseal = createDecipheriv(
      'aes-256-ctr',
      keys.receive.subarray(0, 32),
      keys.receive.subarray(32)
    )
    inner.addEventListener('message', ({ data }) => {
      onBytes('received', data.byteLength)
      this.onData(this.#unseal.update(whole(data)))
    })
    inner.addEventListener('drain', () => this.safeDispatchEvent('drain'))
    inner.addEventListener('remoteCloseWrite', () => this.onRemoteCloseWrite())
    inner.addEventListener('close', event => {
      if (event.error === undefined) this.onTransportClosed()
      else if (event.local === true) this.abort(event.error)
      else this.onRemoteReset()
    })
  }

  /** All is taken; back-pressure is that of the stream below, whose `drain` is passed on. */
  override sendData(data: Chunk): SendResult {
    this.#onBytes('sent', data.byteLength)
    if (this.#corked.length === 0) queueMicrotask(() => this.#uncork())
    // The caller goes on to consume its list, so what is kept must not be that.
    this.#corked.push(whole(data))
    return { sentBytes: data.byteLength, canSendMore: !this.#inner.writableNeedsDrain }
  }

  override sendReset(error: Error): void {
    this.#corked = []
    this.#inner.abort(error)
  }

  override sendPause(): void {
    this.#inner.pause()
  }

  override sendResume(): void {
    this.#inner.resume()
  }

  override close(options?: AbortOptions): Promise<void> {
    this.#uncork()
    return this.#inner.close(options)
  }

  #uncork(): void {
    const [first, ...rest] = this.#corked
    this.#corked = []
    if (first === undefined || this.#inner.status !== 'open') return
    const data = rest.length === 0 ? first : Buffer.concat([first, ...rest])
    try {
      // It says in `writableNeedsDrain` whether it can take more.
      this.#inner.send(this.#seal.update(data))
    } catch (error) {
      this.abort(error instanceof Error ? error : new Error('the connection cannot be written to'))
    }
  }
}

/** One array, so that a frame leaves in one packet rather than one for each of its parts. */
function whole(data: Chunk): Uint8Array {
  return data instanceof Uint8Array ? data : data.subarray()
}
