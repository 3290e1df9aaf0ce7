import type { FastifyInstance } from 'fastify'
import type { Page } from './content.ts'
import { type Repository, tryRepository } from './names.ts'
import { pageOf } from './paging.ts'
import { ROUTES } from './path.ts'
import type { RouteContext } from './routes.ts'

/**
 * The repositories that the client may pull from, in byte order: docker's `_catalog`, which the
 * specification reserves.
 */
export async function catalogRoutes(
  app: FastifyInstance,
  { content, access }: RouteContext
): Promise<void> {
  app.get(ROUTES.catalog, async (request, reply) => {
    const repositories = await pageOf(request, reply, ROUTES.catalog, page =>
      visible(
        page,
        from => content.repositories(from),
        name => access.mayPull(request, name)
      )
    )
    return reply
      .header('content-type', 'application/json')
      .send(Buffer.from(JSON.stringify({ repositories: repositories ?? [] })))
  })
}

/** Reads on until a page is full of what may be seen; where all may be, that is one reading. */
async function visible(
  { after, limit }: Page,
  list: (page: Page) => Promise<readonly string[]>,
  mayPull: (repository: Repository) => boolean
): Promise<readonly string[]> {
  const shown: string[] = []
  for (let last = after; ; ) {
    const names = await list({ limit, ...(last === undefined ? {} : { after: last }) })
    for (const name of names) {
      const repository = tryRepository(name)
      if (repository !== undefined && mayPull(repository)) shown.push(name)
      if (shown.length === limit) return shown
    }
    last = names.at(-1)
    if (names.length < limit) return shown
  }
}
