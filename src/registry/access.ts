import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Repository } from './names.ts'
import { ROUTES } from './path.ts'

/** What a request is about to do, known from its method and path alone. */
export type Wanted =
  /** Nothing that needs a right: the ping, and what has no route. */
  | { readonly kind: 'nothing' }
  /** To see the names of all repositories. */
  | { readonly kind: 'catalog' }
  /** The name is as it was sent, not validated yet; with `ns` it has the namespace in front. */
  | {
      readonly kind: 'repository'
      readonly repository: string
      readonly action: 'pull' | 'push' | 'delete'
    }

/** Who may do what: the seam between the routes and whatever authenticates clients. */
export interface Access {
  /**
   * Called for every request before its route runs and before any byte of its body is asked for.
   * Throws `UNAUTHORIZED` or `DENIED`, after setting the headers that go with it.
   */
  check(request: FastifyRequest, reply: FastifyReply, wanted: Wanted): Promise<void>
  /** Whether the client of a checked request may pull from one more repository. */
  mayPull(request: FastifyRequest, repository: Repository): boolean
  /** As {@link mayPull}, for pushing. */
  mayPush(request: FastifyRequest, repository: Repository): boolean
  /** Who sent a checked request, to bind its uploads to; `''` when nobody had to say. */
  principal(request: FastifyRequest): string
}

/** Everybody may do everything. */
export const OPEN_ACCESS: Access = {
  check: async () => {},
  mayPull: () => true,
  mayPush: () => true,
  principal: () => ''
}

/** Reads from a routed request what it wants. */
export function wantedBy(request: FastifyRequest): Wanted {
  const { url } = request.routeOptions
  if (url === ROUTES.catalog) return { kind: 'catalog' }
  const { name } = (request.params ?? {}) as { name?: string }
  if (name === undefined) return { kind: 'nothing' }
  return { kind: 'repository', repository: name, action: actionOf(request.method, url) }
}

function actionOf(method: string, url: string | undefined): 'pull' | 'push' | 'delete' {
  // Clients that push ask how far an upload is, and cancel it, with the right to push alone.
  if (url === ROUTES.uploads || url === ROUTES.upload) return 'push'
  if (method === 'GET' || method === 'HEAD') return 'pull'
  return method === 'DELETE' ? 'delete' : 'push'
}
