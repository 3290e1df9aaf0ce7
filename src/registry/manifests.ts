import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { MAX_MANIFEST_BYTES, parseManifest } from '../manifest.ts'
import { collect, declaredLength } from './body.ts'
import { ByteBudget } from './budget.ts'
import type { ManifestContent } from './content.ts'
import { StatusError } from './errors.ts'
import { etagOf, isUnmodified } from './etag.ts'
import { findIn } from './mirror.ts'
import { isDigest, parseReference, parseRepository, parseTag, type Tag } from './names.ts'
import { ROUTES } from './path.ts'
import { answerElsewhere } from './push-deputy.ts'
import { bodyOf, clientSignal, type LastParams, queryTexts, type RouteContext } from './routes.ts'
import { withWarnings } from './warning.ts'

/** All manifests being pushed at one time: 16 of the largest, some ten thousand of the usual size. */
const MAX_PUSHED_BYTES = 64 * 1024 * 1024

/**
 * Manifests, by tag and by digest, in exactly the bytes and the media type they were pushed with.
 * `Accept` is not looked at: to convert would change the digest, and every client takes what is there.
 *
 * @see OCI distribution-spec, "Pulling manifests", "Pushing Manifests", "Deleting" (end-3, 7, 9)
 */
export async function manifestRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  const { content, onBytes } = context
  const budget = new ByteBudget(MAX_PUSHED_BYTES)

  app.head<LastParams>(ROUTES.manifest, async (request, reply) => {
    const reference = parseReference(request.params.last)
    const signal = clientSignal(reply)
    const manifest = await findIn(request, context, repository =>
      content.headManifest(repository, reference, signal)
    )
    if (manifest === undefined) throw unknown(reference)
    if (isUnmodified(request, manifest.digest)) return unmodified(reply, manifest)
    return describe(reply, manifest).send()
  })

  app.get<LastParams>(ROUTES.manifest, async (request, reply) => {
    const reference = parseReference(request.params.last)
    const signal = clientSignal(reply)
    const manifest = await findIn(request, context, repository =>
      content.manifest(repository, reference, signal)
    )
    if (manifest === undefined) throw unknown(reference)
    if (isUnmodified(request, manifest.digest)) return unmodified(reply, manifest)
    onBytes('sent', manifest.bytes.length)
    return describe(reply, manifest).send(manifest.bytes)
  })

  app.put<LastParams>(ROUTES.manifest, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const reference = parseReference(request.params.last)
    const tags = tagsFor(request, reference)
    const signal = clientSignal(reply)
    const declaredBytes = declaredLength(request.raw)
    const elsewhere = await answerElsewhere(request, reply, context)
    if (elsewhere !== undefined) return elsewhere
    const { manifest, warnings } = await budget.spend(held(declaredBytes), async () => {
      const body = bodyOf(request, reply, context)
      const bytes = await collect(body, declaredBytes, MAX_MANIFEST_BYTES)
      const expected = isDigest(reference) ? reference : undefined
      const manifest = parseManifest(bytes, request.headers['content-type'], expected)
      const { warnings } = await content.putManifest(repository, tags, manifest, signal)
      return { manifest, warnings }
    })
    const { digest, subject } = manifest
    // Without this header clients begin to keep lists of referrers under tags of their own.
    if (subject !== undefined) reply.header('oci-subject', subject)
    if (isDigest(reference) && tags.length > 0) reply.header('oci-tag', tags)
    return withWarnings(reply, warnings)
      .headers({
        location: `/v2/${repository}/manifests/${digest}`,
        'docker-content-digest': digest
      })
      .code(201)
      .send()
  })

  app.delete<LastParams>(ROUTES.manifest, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const reference = parseReference(request.params.last)
    const deleted = isDigest(reference)
      ? await content.deleteManifest(repository, reference)
      : await content.deleteTag(repository, reference)
    if (deleted === undefined) throw unknown(reference)
    return withWarnings(reply, deleted.warnings).code(202).send()
  })
}

/** So many tags in one push, which is one write of records. */
const MAX_TAGS = 100

/** The tags that a push sets: the one it goes to, or those given with a push by digest (end-7b). */
function tagsFor(request: FastifyRequest, reference: Digest | Tag): readonly Tag[] {
  const tags = [...new Set(queryTexts(request, 'tag'))].map(parseTag)
  if (tags.length > MAX_TAGS) {
    throw new StatusError(414, 'TAG_INVALID', `a push sets ${MAX_TAGS} tags at most`)
  }
  if (isDigest(reference)) return tags
  if (tags.length > 0) {
    throw new StarlingError('TAG_INVALID', 'tag parameters go with a push by digest')
  }
  return [reference]
}

/** How much a body may come to take, as far as its length is known. */
function held(declaredBytes: number): number {
  return Number.isNaN(declaredBytes)
    ? MAX_MANIFEST_BYTES
    : Math.min(declaredBytes, MAX_MANIFEST_BYTES)
}

function describe(reply: FastifyReply, manifest: ManifestContent): FastifyReply {
  return reply.headers({
    'content-type': manifest.mediaType,
    'content-length': manifest.bytes.length,
    'docker-content-digest': manifest.digest,
    etag: etagOf(manifest.digest)
  })
}

function unmodified(reply: FastifyReply, { digest }: ManifestContent): FastifyReply {
  return reply
    .headers({ 'docker-content-digest': digest, etag: etagOf(digest) })
    .code(304)
    .send()
}

function unknown(reference: string): StarlingError {
  return new StarlingError('MANIFEST_UNKNOWN', 'the manifest is not known here', {
    detail: { reference }
  })
}
