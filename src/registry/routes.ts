import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Log } from '../log.ts'
import type { Access } from './access.ts'
import { declaredLength, receive } from './body.ts'
import type { Content } from './content.ts'
import type { PushDeputy } from './push-deputy.ts'
import type { UploadHomes } from './upload-homes.ts'

/** What every route plugin is given. */
export interface RouteContext {
  readonly content: Content
  readonly access: Access
  /** Where uploads are that are not here; `undefined` where there are no other nodes. */
  readonly homes: UploadHomes | undefined
  /** Who takes pushes that this node has no room for. */
  readonly pushDeputy: PushDeputy | undefined
  /** Whether another node has passed a request on, which goes no further then. */
  readonly isRelayed: (request: FastifyRequest) => boolean
  /** Whether a pull with a namespace may be of the bare name too. */
  readonly mirrorBare: boolean
  /** Whether a pusher's question about a blob that only other repositories have mounts it. */
  readonly mountOnHead: boolean
  readonly log: Log
  readonly onBytes: (direction: 'received' | 'sent', count: number) => void
}

/** The parameters of `ROUTES`: a repository's name and, where there is one, what comes last. */
export interface NameParams {
  Params: { name: string }
}
export interface LastParams {
  Params: { name: string; last: string }
}

/** A query parameter; of several with one name, the first. */
export function queryText(request: FastifyRequest, name: string): string | undefined {
  return queryTexts(request, name)[0]
}

/** All query parameters with one name. */
export function queryTexts(request: FastifyRequest, name: string): readonly string[] {
  const value = (request.query as Record<string, string | string[] | undefined>)[name] ?? []
  return Array.isArray(value) ? value : [value]
}

/** Aborts when the client goes before it has its answer. */
export function clientSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort()
  })
  return gone.signal
}

/**
 * Sends the status and the headers set so far, at once, and leaves the body to the caller: the
 * client need not wait for the first byte to learn that there will be one.
 */
export function takeOver(reply: FastifyReply): ServerResponse {
  reply.hijack()
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value)
  }
  reply.raw.flushHeaders()
  return reply.raw
}

/** Whether a request says that it has a body, be it of no known length. */
export function hasBody({ raw }: FastifyRequest): boolean {
  return declaredLength(raw) > 0 || raw.headers['transfer-encoding'] !== undefined
}

/** The body of a request; empty when there is none. */
export function bodyOf(
  request: FastifyRequest,
  reply: FastifyReply,
  context: RouteContext
): AsyncGenerator<Buffer, void, undefined> {
  return receive(request.raw, reply.raw, count => context.onBytes('received', count))
}
