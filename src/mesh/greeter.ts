import type { Connection } from '@libp2p/interface'
import { withDeadline } from '../deadline.ts'
import { isCode, StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { fromMultiaddr } from './address.ts'
import { decodeHello, encodeHello, type Hello, MAX_HELLO_BYTES } from './hello.ts'
import type { Neighbours } from './neighbours.ts'
import type { MeshNode } from './node.ts'
import { call, serve } from './rpc.ts'

export interface GreeterOptions {
  readonly node: MeshNode
  readonly neighbours: Neighbours
  /** Our own hello, all but how we see the receiver. */
  readonly hello: () => Omit<Hello, 'observedHost'>
  /** Called on both sides once a connection's hellos are exchanged, before anything else uses it. */
  readonly onGreeted: (connection: Connection, hello: Hello) => void
  /** Aborted when the mesh closes. */
  readonly signal: AbortSignal
  readonly log: Log
}

const PROTOCOL = '/starling/1/hello'

/** The secret is proven by then; a member that does not say hello within this is stuck. */
const HELLO_TIMEOUT_MS = 5_000

/**
 * Exchanges hellos on every new connection: the dialler asks, the other answers. A connection
 * without them is closed, and carries nothing of ours before.
 */
export class Greeter {
  readonly #options: GreeterOptions
  readonly #onOpen = (event: CustomEvent<Connection>) => void this.#greet(event.detail)

  constructor(options: GreeterOptions) {
    this.#options = options
  }

  async open(): Promise<void> {
    const { node, signal } = this.#options
    await serve(node, PROTOCOL, { maxBytes: MAX_HELLO_BYTES, signal }, (connection, payload) =>
      this.#answer(connection, payload)
    )
    node.addEventListener('connection:open', this.#onOpen)
  }

  close(): void {
    this.#options.node.removeEventListener('connection:open', this.#onOpen)
  }

  async #greet(connection: Connection): Promise<void> {
    const { neighbours, signal: closing, log } = this.#options
    const signal = withDeadline(HELLO_TIMEOUT_MS, closing)
    const peer = connection.remotePeer.toString()
    try {
      if (connection.direction === 'inbound') {
        await neighbours.greeted(connection, signal)
        return
      }
      // Both ends may have dialled at once. Whoever finds that the other was quicker takes his own
      // dial back, before gossip settles on it.
      if (neighbours.isConnected(peer)) {
        await connection.close()
        return
      }
      const payload = encodeHello(this.#helloTo(connection))
      const options = { signal, maxBytes: MAX_HELLO_BYTES }
      const answer = await call(connection, PROTOCOL, payload, options)
      this.#options.onGreeted(connection, decodeHello(answer))
    } catch (error) {
      const closed = connection.status !== 'open'
      connection.abort(error instanceof Error ? error : new Error('no hello'))
      if (closing.aborted || closed) return
      log.warn({ peer, remote: connection.remoteAddr.toString(), err: error }, 'no hello')
    }
  }

  async #answer(connection: Connection, payload: Uint8Array): Promise<Uint8Array> {
    try {
      const hello = decodeHello(payload)
      this.#options.onGreeted(connection, hello)
    } catch (error) {
      if (isCode(error, 'PEER_REFUSED')) {
        this.#options.log.warn({ peer: connection.remotePeer.toString() }, error.message)
      }
      // The peer is told in words, and closes the connection; the time limit above does if not.
      throw error
    }
    return encodeHello(this.#helloTo(connection))
  }

  #helloTo(connection: Connection): Hello {
    const observed = fromMultiaddr(connection.remoteAddr)
    if (observed === undefined) throw new StarlingError('PEER_FAILED', 'a connection without an IP')
    return { ...this.#options.hello(), observedHost: observed.host }
  }
}
