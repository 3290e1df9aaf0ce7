import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../../log.ts'
import { ROUTES } from '../path.ts'
import { addressOf } from './guard.ts'
import type { Principal } from './principal.ts'

/**
 * Writes one line for each request that changed something, or was not allowed to: who, what, from
 * where, and what came of it. Never what they proved it with.
 *
 * @param principal `undefined` when the credentials were wrong
 */
export function auditOnClose(
  request: FastifyRequest,
  reply: FastifyReply,
  principal: Principal | undefined,
  log: Log
): void {
  if (request.method === 'GET' || request.method === 'HEAD') return
  // A closed socket has forgotten whom it was connected to.
  const from = addressOf(request.raw)
  reply.raw.once('close', () => {
    const status = reply.raw.writableFinished ? reply.raw.statusCode : 499
    const isForbidden = status === 401 || status === 403
    if (isForbidden ? isFirstAsk(status, principal) : !changes(request, status)) return
    const outcome = outcomeOf(status)
    const { name, last } = (request.params ?? {}) as { name?: string; last?: string }
    log.info(
      {
        audit: outcome,
        user: principal?.user ?? null,
        via: principal?.via ?? 'wrong credentials',
        from,
        ...{ method: request.method, route: request.routeOptions.url ?? 'none' },
        ...{ repository: name, reference: last, status },
        digest: reply.getHeader('docker-content-digest')
      },
      WORDS[outcome]
    )
  })
}

const WORDS = {
  change: 'registry changed',
  refused: 'request refused',
  unacknowledged: 'change not acknowledged'
}

/** Without an answer, or told to try again, a client does not know; some of it may have been done. */
function outcomeOf(status: number): keyof typeof WORDS {
  if (status < 400) return 'change'
  return status >= 499 ? 'unacknowledged' : 'refused'
}

/** Clients send a request without credentials first, to see whether any are wanted. */
function isFirstAsk(status: number, principal: Principal | undefined): boolean {
  return status === 401 && principal?.via === 'nothing'
}

/** Whether a request tried to put or take something, rather than to send some bytes of it. */
function changes(request: FastifyRequest, status: number): boolean {
  switch (request.routeOptions.url) {
    case ROUTES.uploads:
      return status === 201
    case ROUTES.upload:
      return request.method === 'PUT'
    default:
      return true
  }
}
