import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { StarlingError } from '../errors.ts'
import type { Access, Wanted } from './access.ts'
import type { Repository } from './names.ts'
import { ROUTES } from './path.ts'
import type { LastParams } from './routes.ts'
import { parseUploadId, unknownUpload } from './upload-id.ts'

/** Who sent a request, from the node that found that out to the one that answers. */
export const PRINCIPAL_HEADER = 'starling-principal'

/** That the client may push to the repository, which matters also where it only asks. */
export const MAY_PUSH_HEADER = 'starling-may-push'

/** A principal as a header has it, which takes no letters beyond ASCII. */
export function writePrincipal(principal: string): string {
  return Buffer.from(principal).toString('base64url')
}

/**
 * Access for a registry that other nodes pass requests on to. They have decided already what their
 * client may do, so here it is only to be known who that is. Such a request reaches one repository,
 * and of uploads those of this node, so that it is never passed on again. Whoever runs the node may
 * do everything, by the way that is his alone.
 */
export class RelayedAccess implements Access {
  readonly #own: Access
  readonly #here: string | undefined
  readonly #principals = new WeakMap<IncomingMessage, string>()
  readonly #operators = new WeakSet<IncomingMessage>()

  /** @param here what names this node in the ids of uploads */
  constructor(own: Access, here: string | undefined) {
    this.#own = own
    this.#here = here
  }

  /** Vouches for a request that came from a node of the cluster, before it is handled. */
  admit(request: IncomingMessage): void {
    const principal = request.headers[PRINCIPAL_HEADER]
    const text = typeof principal === 'string' ? principal : ''
    this.#principals.set(request, Buffer.from(text, 'base64url').toString())
  }

  /** Vouches for a request of the user who runs this node. */
  admitOperator(request: IncomingMessage): void {
    this.#operators.add(request)
  }

  async check(request: FastifyRequest, reply: FastifyReply, wanted: Wanted): Promise<void> {
    if (this.#operators.has(request.raw)) return
    if (!this.#principals.has(request.raw)) return this.#own.check(request, reply, wanted)
    if (wanted.kind !== 'repository') throw new StarlingError('DENIED', 'not for other nodes')
    if (request.routeOptions.url !== ROUTES.upload) return
    const { last } = request.params as LastParams['Params']
    if (parseUploadId(last).home !== this.#here) throw unknownUpload()
  }

  /** Whether another node has passed the request on. */
  isRelayed(request: FastifyRequest): boolean {
    return this.#principals.has(request.raw)
  }

  mayPull(request: FastifyRequest, repository: Repository): boolean {
    if (this.#operators.has(request.raw)) return true
    return !this.#principals.has(request.raw) && this.#own.mayPull(request, repository)
  }

  mayPush(request: FastifyRequest, repository: Repository): boolean {
    if (this.#operators.has(request.raw)) return true
    if (!this.#principals.has(request.raw)) return this.#own.mayPush(request, repository)
    return request.headers[MAY_PUSH_HEADER] === 'true'
  }

  principal(request: FastifyRequest): string {
    if (this.#operators.has(request.raw)) return ''
    return this.#principals.get(request.raw) ?? this.#own.principal(request)
  }
}
