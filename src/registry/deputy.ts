import type { IncomingHttpHeaders } from 'node:http'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { algorithmOf, type Digest, finishDigest, startDigest, tryDigest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import { sendSmall } from './answer.ts'
import { collect } from './body.ts'
import { tryRepository } from './names.ts'
import { originForm, ROUTES } from './path.ts'
import {
  MAY_PUSH_HEADER,
  PRINCIPAL_HEADER,
  type RelayedAccess,
  writePrincipal
} from './relayed-access.ts'
import {
  bodyOf,
  clientSignal,
  hasBody,
  type LastParams,
  type NameParams,
  type RouteContext,
  takeOver
} from './routes.ts'
import type { Forwarded } from './upload-homes.ts'

/**
 * Stands in for a node that stores nothing (`--hold none`), or has no room for what is pushed: other
 * nodes answer its clients.
 */
export interface Deputy {
  /**
   * Has some node that stores blobs answer a request. The body is to be read or destroyed. Throws
   * `UNAVAILABLE` when none can be reached, and the error of the request's own body.
   */
  answer(request: Forwarded, signal: AbortSignal): Promise<DeputyAnswer>
}

export interface DeputyAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Readable
}

/**
 * Passes every request about a repository on. Whether the client may make it is decided here; the
 * node that answers is told who it is. Requests for an upload find their way by its id.
 */
export function passOn(
  app: FastifyInstance,
  deputy: Deputy,
  access: RelayedAccess,
  context: RouteContext
): void {
  app.addHook('preHandler', async (request, reply) => {
    const { name } = (request.params ?? {}) as { name?: string }
    const { url } = request.routeOptions
    if (name === undefined || url === ROUTES.upload) return
    // Two nodes that store nothing would send it to and fro.
    if (access.isRelayed(request)) throw new StarlingError('UNAVAILABLE', 'nothing is stored here')
    const forwarded = forwardedOf(request, reply, context, originForm(request.originalUrl))
    const answer = await deputy.answer(forwarded, clientSignal(reply)).catch(error => {
      // Whether a blob is here is a question with two answers: who is told no uploads it.
      const isQuestion = request.method === 'HEAD' && url === ROUTES.blob
      if (isQuestion && isCode(error, 'UNAVAILABLE')) return undefined
      throw error
    })
    if (answer === undefined) return reply.code(404).send()
    return request.method === 'GET' || request.method === 'HEAD'
      ? stream(request, reply, answer, context)
      : short(request, reply, answer)
  })
}

/** A request as it goes on to another node, which is told who its client is. */
export function forwardedOf(
  request: FastifyRequest,
  reply: FastifyReply,
  context: RouteContext,
  path: string
): Forwarded {
  const { access } = context
  const repository = tryRepository((request.params as NameParams['Params']).name)
  const mayPush = repository !== undefined && access.mayPush(request, repository)
  return {
    ...{ method: request.method, path },
    headers: {
      ...pick(request.headers, REQUEST_HEADERS),
      [PRINCIPAL_HEADER]: writePrincipal(access.principal(request)),
      [MAY_PUSH_HEADER]: String(mayPush)
    },
    body: hasBody(request) ? () => bodyOf(request, reply, context) : undefined
  }
}

/** All that the routes read, but for a range: only a whole blob can be verified on its way. */
const REQUEST_HEADERS = [
  'accept',
  'content-length',
  'content-range',
  'content-type',
  'if-none-match'
]

/** All that they write. */
const ANSWER_HEADERS = [
  ...['location', 'range', 'docker-upload-uuid', 'docker-content-digest', 'content-type'],
  ...['retry-after', 'warning', 'etag', 'cache-control', 'link', 'allow'],
  ...['oci-subject', 'oci-tag', 'oci-filters-applied']
]

/** An error has a few hundred bytes; one for each of a hundred digests has 20 kB. */
const MAX_SHORT_BYTES = 64 * 1024

/** Gives a short answer of another node to the client. */
export async function short(
  request: FastifyRequest,
  reply: FastifyReply,
  { status, headers, body }: DeputyAnswer
): Promise<FastifyReply> {
  reply.code(status).headers(pick(headers, ANSWER_HEADERS))
  return sendSmall(request, reply, await collect(body, 0, MAX_SHORT_BYTES))
}

async function stream(
  request: FastifyRequest,
  reply: FastifyReply,
  { status, headers, body }: DeputyAnswer,
  { onBytes, log }: RouteContext
): Promise<FastifyReply> {
  reply.code(status).headers(pick(headers, ANSWER_HEADERS))
  const length = headers['content-length']
  if (length !== undefined) reply.header('content-length', length)
  // What was asked for by its digest is that, whatever the other node says that it gave.
  const digest = askedFor(request) ?? tryDigest(String(headers['docker-content-digest']))
  const response = takeOver(reply)
  const isWhole = request.method === 'GET' && status === 200
  const passage = through(isWhole ? digest : undefined, count => onBytes('sent', count))
  // What fails here has begun to be sent: that the connection is cut tells the client.
  await pipeline(body, passage, response).catch(error =>
    log.warn({ err: error, url: request.originalUrl }, 'answer of a deputy cut off')
  )
  return reply
}

function askedFor(request: FastifyRequest): Digest | undefined {
  const { url } = request.routeOptions
  if (url !== ROUTES.blob && url !== ROUTES.manifest) return undefined
  return tryDigest((request.params as LastParams['Params']).last)
}

/** Lets bytes through; of what has a digest the last only once all have turned out to be that. */
function through(digest: Digest | undefined, onBytes: (count: number) => void): Transform {
  const hash = digest && startDigest(algorithmOf(digest))
  let withheld: Buffer | undefined
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      onBytes(chunk.length)
      hash?.update(chunk)
      const ready = hash === undefined ? chunk : withheld
      withheld = chunk
      done(null, ready)
    },
    flush(done) {
      if (digest === undefined || hash === undefined) return done()
      if (finishDigest(algorithmOf(digest), hash) === digest) return done(null, withheld)
      done(new StarlingError('PEER_FAILED', `what came was not ${digest}`))
    }
  })
}

function pick(headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {}
  for (const name of names) {
    const value = headers[name]
    if (value !== undefined) picked[name] = String(value)
  }
  return picked
}
