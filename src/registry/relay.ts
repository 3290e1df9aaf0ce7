import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { sendSmall } from './answer.ts'
import { parseRepository } from './names.ts'
import { PRINCIPAL_HEADER, writePrincipal } from './relayed-access.ts'
import {
  bodyOf,
  clientSignal,
  hasBody,
  type LastParams,
  queryText,
  type RouteContext
} from './routes.ts'
import type { Forwarded } from './upload-homes.ts'
import { formatUploadId, parseUploadId, type UploadId, unknownUpload } from './upload-id.ts'

/**
 * Passes requests for an upload that another node has on to that node, in place of their routes.
 * Whether the client may push is decided here; the other node is told who it is.
 */
export function relayUploads(app: FastifyInstance, context: RouteContext): void {
  const { homes, access } = context
  if (homes === undefined) return
  app.addHook('preHandler', async (request, reply) => {
    const { name, last } = request.params as Partial<LastParams['Params']>
    if (name === undefined || last === undefined) return
    const id = parseUploadId(last)
    if (id.home === undefined || id.home === homes.here) return
    const forwarded: Forwarded = {
      method: request.method,
      path: pathOf(request, name, id),
      headers: {
        ...pick(request.headers, REQUEST_HEADERS),
        [PRINCIPAL_HEADER]: writePrincipal(access.principal(request))
      },
      body: takesBody(request) ? () => bodyOf(request, reply, context) : undefined
    }
    const answer = await homes.forward(id.home, forwarded, clientSignal(reply))
    if (answer === undefined) throw unknownUpload()
    reply.code(answer.status).headers(pick(answer.headers, ANSWER_HEADERS))
    return sendSmall(request, reply, answer.body)
  })
}

/** All that the routes of an upload read. Whatever proved who the client is stays here. */
const REQUEST_HEADERS = ['content-length', 'content-range', 'content-type']

/** All that they write. */
const ANSWER_HEADERS = [
  ...['location', 'range', 'docker-upload-uuid', 'docker-content-digest'],
  ...['content-type', 'retry-after']
]

/** As the other node knows it, whatever namespace or host the client wrote. */
function pathOf(request: FastifyRequest, name: string, id: UploadId): string {
  const path = `/v2/${parseRepository(name)}/blobs/uploads/${formatUploadId(id)}`
  const digest = queryText(request, 'digest')
  return digest === undefined ? path : `${path}?${new URLSearchParams({ digest })}`
}

/** The routes of other methods read no body, so none is sent on. */
function takesBody(request: FastifyRequest): boolean {
  return (request.method === 'PATCH' || request.method === 'PUT') && hasBody(request)
}

function pick(headers: IncomingHttpHeaders, names: readonly string[]): Record<string, string> {
  const picked: Record<string, string> = {}
  for (const name of names) {
    const value = headers[name]
    if (typeof value === 'string') picked[name] = value
  }
  return picked
}
