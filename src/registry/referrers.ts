import type { FastifyInstance, FastifyReply } from 'fastify'
import { parseDigest } from '../digest.ts'
import type { ReferrerDescriptor } from './content.ts'
import { parseRepository } from './names.ts'
import { MAX_PAGE, parseLimit } from './paging.ts'
import { ROUTES } from './path.ts'
import {
  clientSignal,
  type LastParams,
  queryText,
  queryTexts,
  type RouteContext
} from './routes.ts'

/** Not a JSON type with parameters: oras and crane compare it letter by letter. */
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'

/** containerd reads no list much above 4 MiB; one entry alone is always less than its manifest. */
const MAX_PAGE_BYTES = 2 * 1024 * 1024

/**
 * The manifests that have a given subject: signatures, attestations, bills of materials. A subject
 * that nobody knows has none, which is an empty list and never 404. Manifests that clients listed
 * under a fallback tag are among them, since what counts is the subject that each of them names.
 *
 * @see OCI distribution-spec, "Listing Referrers" (end-12)
 */
export async function referrerRoutes(app: FastifyInstance, context: RouteContext): Promise<void> {
  const { content } = context

  app.get<LastParams>(ROUTES.referrers, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const subject = parseDigest(request.params.last)
    const types = queryTexts(request, 'artifactType').filter(type => type !== '')
    const limit = parseLimit(queryText(request, 'n'))
    const after = queryText(request, 'last')
    const page = new Page(limit)
    for await (const referrer of content.referrers(
      repository,
      subject,
      after,
      clientSignal(reply)
    )) {
      const wanted = types.length === 0 || types.includes(referrer.artifactType ?? '')
      if (wanted && !page.add(referrer)) break
    }
    if (types.length > 0) reply.header('oci-filters-applied', 'artifactType')
    if (page.next !== undefined) {
      const query = new URLSearchParams({ n: String(limit), last: page.next })
      for (const type of types) query.append('artifactType', type)
      reply.header('link', `</v2/${repository}/referrers/${subject}?${query}>; rel="next"`)
    }
    return sendIndex(reply, page)
  })
}

/** A page that takes entries until it is full. */
class Page {
  readonly #limit: number
  readonly #entries: string[] = []
  #sizeBytes = 0
  #last: string | undefined
  /** The last entry taken, once there was one more to come. */
  next: string | undefined

  constructor(limit: number) {
    this.#limit = Math.min(limit, MAX_PAGE)
  }

  /** @returns false when there is no room for it */
  add(referrer: ReferrerDescriptor): boolean {
    const entry = JSON.stringify(referrer)
    const sizeBytes = Buffer.byteLength(entry)
    const isFull =
      this.#entries.length >= this.#limit ||
      (this.#entries.length > 0 && this.#sizeBytes + sizeBytes > MAX_PAGE_BYTES)
    if (isFull) {
      this.next = this.#last
      return false
    }
    this.#entries.push(entry)
    this.#sizeBytes += sizeBytes
    this.#last = referrer.digest
    return true
  }

  toJson(): string {
    return `{"schemaVersion":2,"mediaType":"${OCI_INDEX}","manifests":[${this.#entries.join(',')}]}`
  }
}

function sendIndex(reply: FastifyReply, page: Page): FastifyReply {
  return reply.header('content-type', OCI_INDEX).send(Buffer.from(page.toJson()))
}
