import type { FastifyRequest } from 'fastify'
import { parseRepository, type Repository, tryRepository } from './names.ts'
import { namespaceOf, namespacePrefix } from './path.ts'
import type { LastParams, RouteContext } from './routes.ts'

/**
 * Looks for what a pull asks for: in the repository of its namespace, which the URL was rewritten
 * to, and then, where that is switched on, in the one of the bare name, for images that were pushed
 * to this registry itself and are pulled as if from another.
 *
 * @throws `NAME_INVALID`
 */
export async function findIn<Found>(
  request: FastifyRequest<LastParams>,
  { access, mirrorBare }: RouteContext,
  find: (repository: Repository) => Promise<Found | undefined>
): Promise<Found | undefined> {
  const repository = parseRepository(request.params.name)
  const found = await find(repository)
  if (found !== undefined || !mirrorBare) return found
  const bare = bareName(request, repository)
  return bare !== undefined && access.mayPull(request, bare) ? find(bare) : undefined
}

function bareName(request: FastifyRequest, repository: Repository): Repository | undefined {
  const namespace = namespaceOf(request.url)
  if (namespace === undefined) return undefined
  const prefix = namespacePrefix(namespace)
  return repository.startsWith(prefix) ? tryRepository(repository.slice(prefix.length)) : undefined
}
