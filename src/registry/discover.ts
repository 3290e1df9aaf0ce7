import type { FastifyInstance } from 'fastify'
import { ROUTES } from './path.ts'

const EXTENSIONS = Buffer.from(
  JSON.stringify({
    extensions: [
      {
        name: '_oci',
        url: 'https://github.com/opencontainers/distribution-spec/tree/main/extensions/_oci.md',
        description: 'which extensions there are',
        endpoints: ['_oci/ext/discover']
      },
      {
        name: '_catalog',
        url: 'https://distribution.github.io/distribution/spec/api/#catalog',
        description: 'the names of all repositories',
        endpoints: ['_catalog']
      }
    ]
  })
)

/**
 * Says which extensions this registry has, for itself and for any of its repositories.
 *
 * @see OCI distribution-spec, extensions/_oci.md
 */
export async function discoverRoutes(app: FastifyInstance): Promise<void> {
  for (const url of [ROUTES.discover, ROUTES.discoverIn]) {
    app.get(url, (_request, reply) =>
      reply.header('content-type', 'application/json').send(EXTENSIONS)
    )
  }
}
