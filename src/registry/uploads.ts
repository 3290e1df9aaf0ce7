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
import { acceptUpload, answerCreated, describeUpload, type OpenUpload } from './upload-answer.ts'
import { parseUploadId, unknownUpload } from './upload-id.ts'

/**
 * Uploads in all their styles: at once (POST, or POST and PUT), streamed (POST, PATCH, PUT) and in
 * chunks (POST, PATCH with Content-Range ..., PUT), mounts, status and cancel.
 *
 * @see OCI distribution-spec, "Pushing blobs" (end-4 to 6, 11, 13, 14)
 */
export async function uploadRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  relayUploads(app, context)
  app.post<NameParams>(ROUTES.uploads, (request, reply) => begin({ request, reply, context }))
  app.patch<LastParams>(ROUTES.upload, (request, reply) => goOn({ request, reply, context }))
  app.put<LastParams>(ROUTES.upload, (request, reply) => finish({ request, reply, context }))
  app.route<LastParams>({
    method: ['GET', 'HEAD'],
    url: ROUTES.upload,
    handler: (request, reply) => tell({ request, reply, context })
  })
  app.delete<LastParams>(ROUTES.upload, (request, reply) => cancel({ request, reply, context }))
}

/** A request and its answer, and what every route is given. */
interface Exchange<Params extends NameParams = NameParams> {
  readonly request: FastifyRequest<Params>
  readonly reply: FastifyReply
  readonly context: RouteContext
}

async function begin(exchange: Exchange): Promise<FastifyReply> {
  const { request, reply, context } = exchange
  const repository = parseRepository(request.params.name)
  const mount = queryText(request, 'mount')
  if (mount !== undefined && (await mounted(exchange, repository, parseDigest(mount)))) {
    return answerCreated(reply, repository, parseDigest(mount))
  }
  const elsewhere = await answerElsewhere(request, reply, context)
  if (elsewhere !== undefined) return elsewhere
  const algorithm = parseAlgorithm(queryText(request, 'digest-algorithm'))
  const digest = queryText(request, 'digest')
  if (digest !== undefined && mount === undefined) {
    return pushAtOnce(exchange, repository, parseDigest(digest))
  }
  return acceptUpload(reply, await create(exchange, repository, algorithm))
}

async function goOn(exchange: Exchange<LastParams>): Promise<FastifyReply> {
  const upload = await uploadOf(exchange)
  const session = await append(exchange, upload)
  return acceptUpload(exchange.reply, { ...upload, session })
}

async function finish(exchange: Exchange<LastParams>): Promise<FastifyReply> {
  const { request, reply, context } = exchange
  const { content } = context
  const digest = parseDigest(queryText(request, 'digest') ?? '')
  const upload = await uploadOf(exchange)
  const { repository, session } = upload
  if (session.offset === 0) {
    const elsewhere = await pushElsewhere(request, reply, context, { repository, digest })
    if (elsewhere !== undefined) {
      if (reply.statusCode === 201) await content.cancelUpload(repository, session.id)
      return elsewhere
    }
  }
  if (hasBody(request)) await append(exchange, upload, digest)
  await content.finishUpload(repository, session.id, digest)
  return answerCreated(reply, repository, digest)
}

async function tell(exchange: Exchange<LastParams>): Promise<FastifyReply> {
  return describeUpload(exchange.reply, await uploadOf(exchange))
    .code(204)
    .send()
}

async function cancel(exchange: Exchange<LastParams>): Promise<FastifyReply> {
  const { repository, session } = await uploadOf(exchange)
  await exchange.context.content.cancelUpload(repository, session.id)
  return exchange.reply.code(204).send()
}

/** A session of somebody else is as unknown as one that never was. */
async function uploadOf({ request, context }: Exchange<LastParams>): Promise<OpenUpload> {
  const repository = parseRepository(request.params.name)
  const { local } = parseUploadId(request.params.last)
  const session = await context.content.upload(repository, local)
  if (session.owner !== context.access.principal(request)) throw unknownUpload()
  return { repository, session, here: context.homes?.here }
}

/** A `from` that is no name is no reason to fail: the client uploads the blob then. */
async function mounted(
  { request, context }: Exchange,
  repository: Repository,
  digest: Digest
): Promise<boolean> {
  const from = queryText(request, 'from')
  const source = from === undefined ? undefined : tryRepository(from)
  if (from !== undefined && source === undefined) return false
  const mayPull = (from: Repository) => context.access.mayPull(request, from)
  if (source !== undefined && !mayPull(source)) return false
  return context.content.mount(repository, digest, source, mayPull)
}

async function create(
  { request, context }: Exchange,
  repository: Repository,
  algorithm: Algorithm | undefined
): Promise<OpenUpload> {
  const owner = context.access.principal(request)
  const session = await context.content.createUpload(repository, {
    owner,
    ...(algorithm && { algorithm })
  })
  return { repository, session, here: context.homes?.here }
}

async function pushAtOnce(
  exchange: Exchange,
  repository: Repository,
  digest: Digest
): Promise<FastifyReply> {
  const { content } = exchange.context
  const upload = await create(exchange, repository, algorithmOf(digest))
  const { id } = upload.session
  try {
    await append(exchange, upload, digest)
    await content.finishUpload(repository, id, digest)
  } catch (error) {
    // The client was never told of the session, so nobody could go on with it.
    await content.cancelUpload(repository, id).catch(ignoreUnknown)
    throw error
  }
  return answerCreated(exchange.reply, repository, digest)
}

async function append(
  { request, reply, context }: Exchange,
  upload: OpenUpload,
  digest?: Digest
): Promise<UploadSession> {
  const { repository, session } = upload
  try {
    const announced = digest && { digest, algorithm: algorithmOf(digest) }
    const extent = { ...chunkExtent(request), ...announced }
    if (extent.start !== undefined && extent.start !== session.offset) {
      throw new StarlingError('RANGE_INVALID', `the next byte is ${session.offset}`)
    }
    const body = bodyOf(request, reply, context)
    return await context.content.appendUpload(repository, session.id, body, extent)
  } catch (error) {
    // The session survives a wrong range; the headers tell the client where to go on.
    if (isCode(error, 'RANGE_INVALID')) describeUpload(reply, upload)
    throw error
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

function ignoreUnknown(error: unknown): void {
  if (!isCode(error, 'BLOB_UPLOAD_UNKNOWN')) throw error
}
