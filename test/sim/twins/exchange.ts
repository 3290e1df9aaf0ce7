import { StarlingError } from '../../../src/errors.ts'
import type { RequestHandler } from '../../../src/mesh/mesh-options.ts'
import type { Neighbours } from '../../../src/mesh/neighbours.ts'
import type { WireEnd } from './wire.ts'

/** The requests of one simulated mesh, and its answers to those of others. */
export class Exchange {
  readonly #neighbours: Pick<Neighbours, 'greeted'>
  readonly #handlers = new Map<string, RequestHandler>()

  constructor(neighbours: Pick<Neighbours, 'greeted'>) {
    this.#neighbours = neighbours
  }

  handle(protocol: string, handler: RequestHandler): void {
    this.#handlers.set(protocol, handler)
  }

  /** What the other end answers. Throws `PEER_FAILED`, and what the signal says. */
  async request(
    end: WireEnd,
    protocol: string,
    payload: Uint8Array,
    signal: AbortSignal
  ): Promise<Uint8Array> {
    signal.throwIfAborted()
    return await new Promise<Uint8Array>((resolve, reject) => {
      const onAbort = () => settle(() => reject(signal.reason))
      const fail = (error: StarlingError) => settle(() => reject(error))
      const settle = (outcome: () => void) => {
        end.waiting.delete(fail)
        signal.removeEventListener('abort', onAbort)
        outcome()
      }
      end.waiting.add(fail)
      signal.addEventListener('abort', onAbort, { once: true })
      end.send(far => {
        far.mesh.exchange.#answer(far, protocol, payload).then(
          bytes => far.send(() => settle(() => resolve(bytes))),
          (cause: unknown) => {
            const words = cause instanceof Error ? cause.message : String(cause)
            far.send(() => fail(new StarlingError('PEER_FAILED', words, { cause })))
          }
        )
      })
    })
  }

  async #answer(end: WireEnd, protocol: string, payload: Uint8Array): Promise<Uint8Array> {
    const { signal } = end.closing
    await this.#neighbours.greeted(end.connection, signal)
    const handler = this.#handlers.get(protocol)
    if (handler === undefined) throw new StarlingError('PEER_FAILED', `no ${protocol} here`)
    return handler(end.remotePeer.toString(), payload, signal)
  }
}
