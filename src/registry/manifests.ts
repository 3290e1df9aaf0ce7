import type { FastifyInstance, FastifyReply } from 'fastify'
import { StarlingError } from '../errors.ts'
import { MAX_MANIFEST_BYTES, parseManifest } from '../manifest.ts'
import { collect, declaredLength } from './body.ts'
import { ByteBudget } from './budget.ts'
import type { ManifestContent } from './content.ts'
import { isDigest, parseReference, parseRepository } from './names.ts'
import { ROUTES } from './path.ts'
import { bodyOf, clientSignal, type LastParams, type RouteContext } from './routes.ts'
import { warningHeaders } from './warning.ts'

/** All manifests being pushed at one time: 16 of the largest, some ten thousand of the usual size. */
const MAX_PUSHED_BYTES = 64 * 1024 * 1024

/**
 * Manifests, by tag and by digest, in exactly the bytes and the media type they were pushed with.
 * `Accept` is not looked at: to convert would change the digest, and every client takes what is there.
 *
 * @see OCI distribution-spec, "Pulling manifests" and "Pushing manifests" (end-3, 7)
 */
export async function manifestRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  const { content, onBytes } = context
  const budget = new ByteBudget(MAX_PUSHED_BYTES)

  app.head<LastParams>(ROUTES.manifest, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const reference = parseReference(request.params.last)
    const manifest = await content.headManifest(repository, reference, clientSignal(reply))
    if (manifest === undefined) throw unknown(reference)
    return describe(reply, manifest).send()
  })

  app.get<LastParams>(ROUTES.manifest, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const reference = parseReference(request.params.last)
    const manifest = await content.manifest(repository, reference, clientSignal(reply))
    if (manifest === undefined) throw unknown(reference)
    onBytes('sent', manifest.bytes.length)
    return describe(reply, manifest).send(manifest.bytes)
  })

  app.put<LastParams>(ROUTES.manifest, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const reference = parseReference(request.params.last)
    const signal = clientSignal(reply)
    const declaredBytes = declaredLength(request.raw)
    const { digest, warnings } = await budget.spend(held(declaredBytes), async () => {
      const body = bodyOf(request, reply, context)
      const bytes = await collect(body, declaredBytes, MAX_MANIFEST_BYTES)
      const expected = isDigest(reference) ? reference : undefined
      const manifest = parseManifest(bytes, request.headers['content-type'], expected)
      const { warnings } = await content.putManifest(repository, reference, manifest, signal)
      return { digest: manifest.digest, warnings }
    })
    if (warnings.length > 0) reply.header('warning', warningHeaders(warnings))
    return reply
      .headers({
        location: `/v2/${repository}/manifests/${digest}`,
        'docker-content-digest': digest
      })
      .code(201)
      .send()
  })
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
    etag: `"${manifest.digest}"`
  })
}

function unknown(reference: string): StarlingError {
  return new StarlingError('MANIFEST_UNKNOWN', 'the manifest is not known here', {
    detail: { reference }
  })
}
