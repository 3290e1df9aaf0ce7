import type { FastifyInstance } from 'fastify'
import { pageOf } from './paging.ts'
import { ROUTES } from './path.ts'
import type { RouteContext } from './routes.ts'

/** All repositories, in byte order: docker's `_catalog`, which the specification reserves. */
export async function catalogRoutes(
  app: FastifyInstance,
  { content }: RouteContext
): Promise<void> {
  app.get(ROUTES.catalog, async (request, reply) => {
    const repositories = await pageOf(request, reply, ROUTES.catalog, page =>
      content.repositories(page)
    )
    return reply
      .header('content-type', 'application/json')
      .send(Buffer.from(JSON.stringify({ repositories: repositories ?? [] })))
  })
}
