import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type Algorithm, algorithmOf, type Digest, parseDigest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import { declaredLength } from './body.ts'
import type { UploadSession } from './content.ts'
import { parseRepository, type Repository, tryRepository } from './names.ts'
import { ROUTES } from './path.ts'
import { answerElsewhere, pushElsewhere } from './push-deputy.ts'
import { parseChunkRange } from './range.ts'
import { relayUploads } from './relay.ts'
import {
  bodyOf,
  hasBody,
  type LastParams,
  type NameParams,
  queryText,
  type RouteContext
} from './routes.ts'
import { formatUploadId, parseUploadId, unknownUpload } from './upload-id.ts'

/**
 * Uploads in all their styles: at once (POST, or POST and PUT), streamed (POST, PATCH, PUT) and in
 * chunks (POST, PATCH with Content-Range ..., PUT), mounts, status and cancel.
 *
 * @see OCI distribution-spec, "Pushing blobs" (end-4 to 6, 11, 13, 14)
 */
export async function uploadRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  const { content, access, homes } = context
  relayUploads(app, context)

  app.post<NameParams>(ROUTES.uploads, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const mount = queryText(request, 'mount')
    if (mount !== undefined && (await mounted(repository, parseDigest(mount), request))) {
      return created(reply, repository, parseDigest(mount))
    }
    const elsewhere = await answerElsewhere(request, reply, context)
    if (elsewhere !== undefined) return elsewhere
    const algorithm = parseAlgorithm(queryText(request, 'digest-algorithm'))
    const digest = queryText(request, 'digest')
    if (digest !== undefined && mount === undefined) {
      return pushAtOnce(request, reply, repository, parseDigest(digest))
    }
    const owner = access.principal(request)
    const session = await content.createUpload(repository, {
      owner,
      ...(algorithm && { algorithm })
    })
    return accepted(reply, repository, session)
  })

  app.patch<LastParams>(ROUTES.upload, async (request, reply) => {
    const { repository, session } = await sessionOf(request)
    return accepted(reply, repository, await append(request, reply, repository, session))
  })

  app.put<LastParams>(ROUTES.upload, async (request, reply) => {
    const digest = parseDigest(queryText(request, 'digest') ?? '')
    const { repository, session } = await sessionOf(request)
    if (session.offset === 0) {
      const elsewhere = await pushElsewhere(request, reply, context, { repository, digest })
      if (elsewhere !== undefined) {
        if (reply.statusCode === 201) await content.cancelUpload(repository, session.id)
        return elsewhere
      }
    }
    if (hasBody(request)) await append(request, reply, repository, session, digest)
    await content.finishUpload(repository, session.id, digest)
    return created(reply, repository, digest)
  })

  app.route<LastParams>({
    method: ['GET', 'HEAD'],
    url: ROUTES.upload,
    handler: async (request, reply) => {
      const { repository, session } = await sessionOf(request)
      return describe(reply, repository, session).code(204).send()
    }
  })

  app.delete<LastParams>(ROUTES.upload, async (request, reply) => {
    const { repository, session } = await sessionOf(request)
    await content.cancelUpload(repository, session.id)
    return reply.code(204).send()
  })

  /** A session of somebody else is as unknown as one that never was. */
  async function sessionOf(
    request: FastifyRequest<LastParams>
  ): Promise<{ readonly repository: Repository; readonly session: UploadSession }> {
    const repository = parseRepository(request.params.name)
    const session = await content.upload(repository, parseUploadId(request.params.last).local)
    if (session.owner !== access.principal(request)) throw unknownUpload()
    return { repository, session }
  }

  /** A `from` that is no name is no reason to fail: the client uploads the blob then. */
  async function mounted(
    repository: Repository,
    digest: Digest,
    request: FastifyRequest
  ): Promise<boolean> {
    const from = queryText(request, 'from')
    const source = from === undefined ? undefined : tryRepository(from)
    if (from !== undefined && source === undefined) return false
    const mayPull = (from: Repository) => access.mayPull(request, from)
    if (source !== undefined && !mayPull(source)) return false
    return content.mount(repository, digest, source, mayPull)
  }

  async function pushAtOnce(
    request: FastifyRequest,
    reply: FastifyReply,
    repository: Repository,
    digest: Digest
  ): Promise<FastifyReply> {
    const algorithm = algorithmOf(digest)
    const session = await content.createUpload(repository, {
      ...{ owner: access.principal(request), algorithm }
    })
    try {
      await append(request, reply, repository, session, digest)
      await content.finishUpload(repository, session.id, digest)
    } catch (error) {
      // The client was never told of the session, so nobody could go on with it.
      await content.cancelUpload(repository, session.id).catch(ignoreUnknown)
      throw error
    }
    return created(reply, repository, digest)
  }

  async function append(
    request: FastifyRequest,
    reply: FastifyReply,
    repository: Repository,
    session: UploadSession,
    digest?: Digest
  ): Promise<UploadSession> {
    try {
      const announced = digest && { digest, algorithm: algorithmOf(digest) }
      const extent = { ...chunkExtent(request), ...announced }
      if (extent.start !== undefined && extent.start !== session.offset) {
        throw new StarlingError('RANGE_INVALID', `the next byte is ${session.offset}`)
      }
      const body = bodyOf(request, reply, context)
      return await content.appendUpload(repository, session.id, body, extent)
    } catch (error) {
      // The session survives a wrong range; the headers tell the client where to go on.
      if (isCode(error, 'RANGE_INVALID')) describe(reply, repository, session)
      throw error
    }
  }

  function accepted(
    reply: FastifyReply,
    repository: Repository,
    session: UploadSession
  ): FastifyReply {
    return describe(reply, repository, session).code(202).send()
  }

  /**
   * The legacy docker client reads `Range` as "%d-%d" and fails without it; an empty session is said
   * to have 0-0, as every registry does. Locations are relative, so that they hold behind any proxy.
   */
  function describe(
    reply: FastifyReply,
    repository: Repository,
    session: UploadSession
  ): FastifyReply {
    const id = formatUploadId({ local: session.id, home: homes?.here })
    return reply.headers({
      location: `/v2/${repository}/blobs/uploads/${id}`,
      range: `0-${Math.max(0, session.offset - 1)}`,
      'docker-upload-uuid': id
    })
  }
}

/** Announced, an algorithm other than sha256 costs no second reading when the upload is closed. */
function parseAlgorithm(text: string | undefined): Algorithm | undefined {
  if (text === undefined || text === 'sha256' || text === 'sha512') return text
  throw new StarlingError('DIGEST_INVALID', 'the digest algorithms are sha256 and sha512')
}

/** Where a chunk says that it starts, and how long it says that it is. */
function chunkExtent(request: FastifyRequest): { start?: number; lengthBytes?: number } {
  const declaredBytes = declaredLength(request.raw)
  const declared = Number.isNaN(declaredBytes) ? {} : { lengthBytes: declaredBytes }
  const header = request.headers['content-range']
  if (header === undefined) return declared
  const range = parseChunkRange(header)
  if (range === undefined) {
    throw new StarlingError('RANGE_INVALID', 'a Content-Range of an upload is "first-last"')
  }
  if (declared.lengthBytes !== undefined && declared.lengthBytes !== range.lengthBytes) {
    throw new StarlingError('SIZE_INVALID', 'Content-Range and Content-Length differ in length')
  }
  return range
}

function created(reply: FastifyReply, repository: Repository, digest: Digest): FastifyReply {
  return reply
    .headers({
      location: `/v2/${repository}/blobs/${digest}`,
      'docker-content-digest': digest
    })
    .code(201)
    .send()
}

function ignoreUnknown(error: unknown): void {
  if (!isCode(error, 'BLOB_UPLOAD_UNKNOWN')) throw error
}
