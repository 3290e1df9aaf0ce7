import type { FastifyInstance, FastifyReply } from 'fastify'
import { type Digest, parseDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { send } from './body.ts'
import { parseRepository } from './names.ts'
import { ROUTES } from './path.ts'
import { parseRange } from './range.ts'
import { clientSignal, type LastParams, type RouteContext, takeOver } from './routes.ts'

/** A digest names the same bytes for ever. */
const CACHE_CONTROL = 'max-age=31536000, immutable'

/**
 * Blobs, whole or in part.
 *
 * @see OCI distribution-spec, "Pulling blobs" (end-2)
 */
export async function blobRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  const { content, log, onBytes } = context

  app.head<LastParams>(ROUTES.blob, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const digest = parseDigest(request.params.last)
    const stat = await content.hasBlob(repository, digest, clientSignal(reply))
    if (stat === undefined) throw unknown(digest)
    describe(reply, digest)
    return reply.header('content-length', stat.sizeBytes).send()
  })

  app.get<LastParams>(ROUTES.blob, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const digest = parseDigest(request.params.last)
    const blob = await content.blob(repository, digest, clientSignal(reply))
    if (blob === undefined) throw unknown(digest)

    const { headers } = request
    const range =
      headers['if-range'] === undefined || headers['if-range'] === etag(digest)
        ? parseRange(headers.range, blob.sizeBytes)
        : ({ kind: 'whole' } as const)
    if (range.kind === 'unsatisfiable') {
      reply.header('content-range', `bytes */${blob.sizeBytes}`)
      throw new StarlingError('RANGE_INVALID', `the blob has ${blob.sizeBytes} bytes`)
    }

    const { start, end } = range.kind === 'part' ? range : { start: 0, end: blob.sizeBytes }
    const source = await blob.open(range.kind === 'part' ? { start, end } : undefined)
    describe(reply, digest)
    reply.header('content-length', end - start)
    if (range.kind === 'part') {
      reply.header('content-range', `bytes ${start}-${end - 1}/${blob.sizeBytes}`)
    }
    // Fastify's own way to send a stream neither counts nor checks the bytes.
    const response = takeOver(reply.code(range.kind === 'part' ? 206 : 200))
    const error = await send(response, source, end - start, count => onBytes('sent', count))
    if (error !== undefined) log.warn({ err: error, repository, digest }, 'blob cut short')
  })
}

function describe(reply: FastifyReply, digest: Digest): void {
  reply.headers({
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    'cache-control': CACHE_CONTROL,
    etag: etag(digest)
  })
}

function etag(digest: Digest): string {
  return `"${digest}"`
}

function unknown(digest: Digest): StarlingError {
  return new StarlingError('BLOB_UNKNOWN', 'the blob is not known here', { detail: { digest } })
}
