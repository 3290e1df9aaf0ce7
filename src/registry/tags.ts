import type { FastifyInstance } from 'fastify'
import { StarlingError } from '../errors.ts'
import { parseRepository } from './names.ts'
import { pageOf } from './paging.ts'
import { ROUTES } from './path.ts'
import type { NameParams, RouteContext } from './routes.ts'

/**
 * The tags of a repository, in byte order.
 *
 * @see OCI distribution-spec, "Listing tags" (end-8)
 */
export async function tagRoutes(app: FastifyInstance, { content }: RouteContext): Promise<void> {
  app.get<NameParams>(ROUTES.tags, async (request, reply) => {
    const repository = parseRepository(request.params.name)
    const tags = await pageOf(request, reply, `/v2/${repository}/tags/list`, page =>
      content.tags(repository, page)
    )
    if (tags === undefined) {
      throw new StarlingError('NAME_UNKNOWN', 'the repository is not known here')
    }
    return reply
      .header('content-type', 'application/json')
      .send(Buffer.from(JSON.stringify({ name: repository, tags })))
  })
}
