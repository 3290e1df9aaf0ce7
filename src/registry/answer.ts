import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { awaitsContinue, isSending, sendAndLinger } from './body.ts'
import { answerFor, StatusError } from './errors.ts'
import { parsePath, ROUTES } from './path.ts'
import { takeOver } from './routes.ts'

/** Tells the client what went wrong, in a way that reaches it even while it is still sending. */
export function answerError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Log
): void {
  const { status, headers, body, ours } = answerFor(error)
  if (request.raw.errored || reply.raw.destroyed) {
    // The client broke off; nobody is there to be answered.
    reply.hijack()
    reply.raw.destroy()
    return
  }
  if (ours) {
    log.error({ err: error, method: request.method, url: request.originalUrl }, 'request failed')
  }
  sendSmall(request, reply.code(status).headers(headers), body)
}

/** Sends a short body, or none, in a way that reaches the client even while it is still sending. */
export function sendSmall(
  request: FastifyRequest,
  reply: FastifyReply,
  body: Buffer
): FastifyReply {
  if (body.length > 0) reply.header('content-length', body.length)
  if (awaitsContinue(request.raw)) {
    reply.header('connection', 'close').send(body)
  } else if (isSending(request.raw)) {
    sendAndLinger(request.raw, takeOver(reply.header('connection', 'close')), body)
  } else {
    reply.send(body.length > 0 ? body : undefined)
  }
  return reply
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

/**
 * Refuses what has no route. An endpoint without this method is 405, anything else 404. Neither is
 * `NAME_UNKNOWN`, which would tell a client that asks for referrers that the repository is missing,
 * not the endpoint.
 */
export function refuse(app: FastifyInstance, request: FastifyRequest, reply: FastifyReply): never {
  const endpoint = parsePath(request.url.replace(/[?#].*$/s, ''))
  const url = endpoint === undefined ? '' : ROUTES[endpoint.kind]
  const allowed = METHODS.filter(method => app.hasRoute({ method, url }))
  if (allowed.length === 0) throw new StatusError(404, 'UNSUPPORTED', 'there is no such endpoint')
  reply.header('allow', allowed.join(', '))
  throw new StarlingError('UNSUPPORTED', `${request.method} is not supported here`)
}
