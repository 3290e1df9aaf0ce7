import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { Channel, type ChannelLimits, type MessageHandler } from './channel.ts'
import type { RequestHandler } from './mesh-options.ts'
import type { Neighbours } from './neighbours.ts'
import type { MeshNode } from './node.ts'
import { type CallOptions, call, serve } from './rpc.ts'

export interface RequestsOptions {
  readonly node: MeshNode
  readonly neighbours: Neighbours
  readonly signal: AbortSignal
  readonly log: Log
}

/** The protocols of the mesh's users, spoken only over connections whose hello is done. */
export class Requests {
  readonly #options: RequestsOptions
  readonly #handling: Promise<void>[] = []
  readonly #channels: Channel[] = []

  constructor(options: RequestsOptions) {
    this.#options = options
  }

  /** Resolves once all handlers given so far are in place. */
  async ready(): Promise<void> {
    await Promise.all(this.#handling)
  }

  handle(protocol: string, maxBytes: number, handler: RequestHandler): void {
    const { node, neighbours, signal, log } = this.#options
    const serving = serve(
      node,
      protocolName(protocol),
      { maxBytes, signal },
      async (connection, payload, left) => {
        await neighbours.greeted(connection, left)
        return handler(connection.remotePeer.toString(), payload, left)
      }
    )
    this.#handling.push(serving)
    serving.catch(error => log.error({ protocol, err: error }, 'protocol not handled'))
  }

  /** A channel that is open once {@link ready}. */
  channel(protocol: string, limits: ChannelLimits, handler: MessageHandler): Channel {
    const options = { ...this.#options, ...limits, protocol: `/starling/1/channel/${protocol}` }
    const channel = new Channel({ ...options, handler })
    this.#handling.push(channel.open())
    this.#channels.push(channel)
    return channel
  }

  /** The first connection to this peer has exchanged hellos. */
  connected(peer: string): void {
    for (const channel of this.#channels) channel.connected(peer)
  }

  async request(
    peer: string,
    protocol: string,
    payload: Uint8Array,
    options: CallOptions
  ): Promise<Uint8Array> {
    const connection = this.#options.neighbours.connectionTo(peer)
    if (connection === undefined) {
      throw new StarlingError('PEER_FAILED', 'the peer is not connected')
    }
    return call(connection, protocolName(protocol), payload, options)
  }
}

/** Apart from hello and beat, which are the mesh's own. */
function protocolName(protocol: string): string {
  return `/starling/1/request/${protocol}`
}
