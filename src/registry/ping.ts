import type { FastifyInstance } from 'fastify'
import { ROUTES } from './path.ts'

const EMPTY_OBJECT = Buffer.from('{}')

/**
 * Says that this is a registry. `/` is answered too, since Zarf's chart probes it.
 *
 * @see OCI distribution-spec, end-1
 */
export async function pingRoutes(app: FastifyInstance): Promise<void> {
  for (const url of [ROUTES.root, ROUTES.version]) {
    app.route({
      method: ['GET', 'HEAD'],
      url,
      handler: (_request, reply) =>
        reply.header('content-type', 'application/json').send(EMPTY_OBJECT)
    })
  }
}
