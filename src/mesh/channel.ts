import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Stream } from '@libp2p/interface'
import { withDeadline } from '../deadline.ts'
import type { Log } from '../log.ts'
import { Events } from './events.ts'
import { FrameReader } from './frames.ts'
import type { Neighbours } from './neighbours.ts'
import type { MeshNode } from './node.ts'
import { Outlet } from './outlet.ts'

export interface ChannelLimits {
  /** The longest message. */
  readonly maxFrameBytes: number
  /** What may wait for a slow peer, beside a MiB in its stream; beyond it the peer's end is reset. */
  readonly maxQueuedBytes: number
}

/** Takes a message of a peer. What it throws resets the peer's end, so that the peer begins anew. */
export type MessageHandler = (peer: string, message: Buffer) => void

export interface ChannelOptions extends ChannelLimits {
  readonly protocol: string
  readonly node: MeshNode
  readonly neighbours: Neighbours
  readonly handler: MessageHandler
  /** Aborted when the mesh closes. */
  readonly signal: AbortSignal
  readonly log: Log
}

type ChannelEvents = {
  /** Messages reach this peer from now on; none that were sent before do. */
  up: [peer: string]
  down: [peer: string]
}

/** To open a stream, or to be greeted on it. */
const OPEN_TIMEOUT_MS = 10_000

/** Before a stream is opened again that was refused, or reset. */
const REOPEN_MS = 500

/** A peer that opens more is opening them anew without end. */
const MAX_STREAMS = 8

/**
 * Messages to and from every connected peer, in order, each way by one long-lived stream. What was
 * sent may be lost when a stream ends, never anything in the middle: `up` means a fresh start.
 */
export class Channel {
  readonly #options: ChannelOptions
  readonly #events = new Events<ChannelEvents>()
  readonly #outlets = new Map<string, Outlet>()
  /** Peers whose outlet is kept open. */
  readonly #kept = new Set<string>()
  /** The newest stream of each peer; the older ones are not listened to any more. */
  readonly #inlets = new Map<string, Stream>()

  constructor(options: ChannelOptions) {
    this.#options = options
  }

  /** Resolves once streams are taken. */
  async open(): Promise<void> {
    const { node, protocol } = this.#options
    await node.handle(protocol, (stream, connection) => this.#take(stream, connection), {
      maxInboundStreams: MAX_STREAMS,
      maxOutboundStreams: MAX_STREAMS
    })
  }

  /** Peers to which messages can be sent. */
  peers(): readonly string[] {
    return [...this.#outlets.keys()]
  }

  /**
   * Sends a message of up to `maxFrameBytes`. False when the peer is not up, or too slow for all that
   * was sent: then its end is reset, and `down` and `up` follow.
   */
  send(peer: string, message: Uint8Array): boolean {
    return this.#outlets.get(peer)?.send(message) ?? false
  }

  /** Begins anew with a peer. */
  reset(peer: string): void {
    this.#outlets.get(peer)?.reset('to begin anew')
  }

  onUp(listener: (peer: string) => void): () => void {
    return this.#events.on('up', listener)
  }

  onDown(listener: (peer: string) => void): () => void {
    return this.#events.on('down', listener)
  }

  /** A peer is connected: its outlet is kept open until it no longer is. */
  connected(peer: string): void {
    if (this.#kept.has(peer)) return
    this.#kept.add(peer)
    void this.#keep(peer).finally(() => this.#kept.delete(peer))
  }

  async #keep(peer: string): Promise<void> {
    const { signal } = this.#options
    while (!signal.aborted && this.#options.neighbours.isConnected(peer)) {
      const outlet = await this.#openOutlet(peer)
      if (outlet !== undefined) {
        this.#outlets.set(peer, outlet)
        this.#events.emit('up', peer)
        await outlet.ended
        this.#outlets.delete(peer)
        this.#events.emit('down', peer)
        if (!this.#options.neighbours.isConnected(peer)) return
      }
      await delay(REOPEN_MS, undefined, { signal, ref: false }).catch(ignore)
    }
  }

  async #openOutlet(peer: string): Promise<Outlet | undefined> {
    const { neighbours, protocol, maxQueuedBytes, log } = this.#options
    const connection = neighbours.connectionTo(peer)
    if (connection === undefined) return undefined
    try {
      const stream = await connection.newStream([protocol], { signal: this.#withLimit() })
      return new Outlet(stream, maxQueuedBytes)
    } catch (error) {
      log.debug({ peer, protocol, err: error }, 'channel not opened')
      return undefined
    }
  }

  async #take(stream: Stream, connection: Connection): Promise<void> {
    const { neighbours, maxFrameBytes, handler, protocol, log } = this.#options
    const peer = connection.remotePeer.toString()
    await neighbours.greeted(connection, this.#withLimit())
    this.#inlets.get(peer)?.abort(new Error('the peer began anew'))
    this.#inlets.set(peer, stream)
    stream.addEventListener('close', () => {
      if (this.#inlets.get(peer) === stream) this.#inlets.delete(peer)
    })
    stream.addEventListener('remoteCloseWrite', () => void stream.close().catch(ignore))
    const frames = new FrameReader(maxFrameBytes)
    stream.addEventListener('message', ({ data }) => {
      if (this.#inlets.get(peer) !== stream) return
      try {
        for (const message of frames.push(data.subarray())) handler(peer, message)
      } catch (error) {
        log.warn({ peer, protocol, err: error }, 'message not understood')
        stream.abort(error instanceof Error ? error : new Error('not understood'))
      }
    })
  }

  #withLimit(): AbortSignal {
    return withDeadline(OPEN_TIMEOUT_MS, this.#options.signal)
  }
}

function ignore(): void {}
