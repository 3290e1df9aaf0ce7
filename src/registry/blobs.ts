import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Digest, parseDigest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import { send } from './body.ts'
import type { BlobContent } from './content.ts'
import { etagOf, isUnmodified } from './etag.ts'
import { findIn } from './mirror.ts'
import { multipart } from './multipart.ts'
import { parseRepository, type Repository } from './names.ts'
import { namespaceOf, ROUTES } from './path.ts'
import { parseRange, type RangeRequest } from './range.ts'
import { clientSignal, type LastParams, type RouteContext, takeOver } from './routes.ts'
import { withWarnings } from './warning.ts'

/** A digest names the same bytes for ever. */
const CACHE_CONTROL = 'max-age=31536000, immutable'

/**
 * Blobs, whole or in part, and their deletion.
 *
 * @see OCI distribution-spec, "Pulling blobs" and "Deleting Blobs" (end-2, 10)
 */
export async function blobRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  const { content, access, log, onBytes } = context

  app.head<LastParams>(ROUTES.blob, async (request, reply) => {
    const digest = parseDigest(request.params.last)
    const found = await findIn(request, context, repository =>
      content.hasBlob(repository, digest, askerOf(request, repository))
    )
    const stat = found ?? (await mounted(request, digest))
    if (stat === undefined) throw unknown(digest)
    describe(reply, digest)
    if (isUnmodified(request, digest)) return reply.code(304).send()
    return reply.header('content-length', stat.sizeBytes).send()
  })

  app.get<LastParams>(ROUTES.blob, async (request, reply) => {
    const digest = parseDigest(request.params.last)
    const signal = clientSignal(reply)
    const blob = await findIn(request, context, repository =>
      content.blob(repository, digest, signal)
    )
    if (blob === undefined) throw unknown(digest)

    if (isUnmodified(request, digest)) return describe(reply, digest).code(304).send()

    const { headers } = request
    const isSame = headers['if-range'] === undefined || headers['if-range'] === etagOf(digest)
    const range = parseRange(isSame ? headers.range : undefined, blob.sizeBytes)
    if (range.kind === 'unsatisfiable') {
      reply.header('content-range', `bytes */${blob.sizeBytes}`)
      throw new StarlingError('RANGE_INVALID', `the blob has ${blob.sizeBytes} bytes`)
    }

    const { headers: more, sizeBytes, open } = bodyFor(blob, range)
    const source = await open()
    describe(reply, digest).headers({ ...more, 'content-length': sizeBytes })
    // Fastify's own way to send a stream neither counts nor checks the bytes.
    const response = takeOver(reply.code(range.kind === 'whole' ? 200 : 206))
    const error = await send(response, source, sizeBytes, count => onBytes('sent', count))
    if (error !== undefined)
      log.warn({ err: error, repository: request.params.name, digest }, 'blob cut short')
  })

  app.delete<LastParams>(ROUTES.blob, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const digest = parseDigest(request.params.last)
    try {
      const deleted = await content.deleteBlob(repository, digest)
      if (deleted === undefined) throw unknown(digest)
      return withWarnings(reply, deleted.warnings).code(202).send()
    } catch (error) {
      if (isCode(error, 'UNSUPPORTED')) reply.header('allow', 'GET, HEAD')
      throw error
    }
  })

  /**
   * Mounts a blob that its pusher asks about, as if it had been told where from: oras, and Zarf with
   * it, ask before they push and never mount, so that layers which many repositories share are sent
   * for each of them. What the client may not pull stays as unknown as what there is not
   * (CVE-2024-39897).
   */
  async function mounted(
    request: FastifyRequest<LastParams>,
    digest: Digest
  ): Promise<{ readonly sizeBytes: number } | undefined> {
    const repository = parseRepository(request.params.name)
    if (!context.mountOnHead || askerOf(request, repository) === 'puller') return undefined
    const mayPull = (from: Repository) => access.mayPull(request, from)
    if (!(await content.mount(repository, digest, undefined, mayPull))) return undefined
    return content.hasBlob(repository, digest, 'pusher')
  }

  /** A namespace is of a pull through a mirror. */
  function askerOf(
    request: FastifyRequest<LastParams>,
    repository: Repository
  ): 'pusher' | 'puller' {
    const mayPush = namespaceOf(request.url) === undefined && access.mayPush(request, repository)
    return mayPush ? 'pusher' : 'puller'
  }
}

/** What is sent of a blob: all of it, a part, or several in one body. */
function bodyFor(
  blob: BlobContent,
  range: Exclude<RangeRequest, { kind: 'unsatisfiable' }>
): {
  readonly headers: Readonly<Record<string, string>>
  readonly sizeBytes: number
  readonly open: () => Promise<Readable>
} {
  switch (range.kind) {
    case 'whole':
      return { headers: {}, sizeBytes: blob.sizeBytes, open: () => blob.open() }
    case 'part': {
      const { start, end } = range
      const headers = { 'content-range': `bytes ${start}-${end - 1}/${blob.sizeBytes}` }
      return { headers, sizeBytes: end - start, open: () => blob.open({ start, end }) }
    }
    case 'parts': {
      const { contentType, sizeBytes, open } = multipart(blob, range.extents)
      return { headers: { 'content-type': contentType }, sizeBytes, open }
    }
  }
}

function describe(reply: FastifyReply, digest: Digest): FastifyReply {
  return reply.headers({
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    'cache-control': CACHE_CONTROL,
    etag: etagOf(digest)
  })
}

function unknown(digest: Digest): StarlingError {
  return new StarlingError('BLOB_UNKNOWN', 'the blob is not known here', { detail: { digest } })
}
