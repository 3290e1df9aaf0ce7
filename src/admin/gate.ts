import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'

/** Why somebody may not look at this node. */
export interface GateRefusal {
  readonly status: 401 | 403 | 503
  readonly message: string
  /** The `WWW-Authenticate` fields of a 401. */
  readonly challenges: readonly string[]
}

/** Decides who may look, where that is known. @returns `undefined` when they may */
export type Gate = (request: IncomingMessage) => Promise<GateRefusal | undefined>

/** Probes cannot log in, and learn nothing but whether this node works. */
const FREE: readonly string[] = ['/healthz', '/readyz']

/** Lets nobody in but those whom the gate lets. */
export function addGate(app: FastifyInstance, gate: Gate): void {
  app.addHook('onRequest', async (request, reply) => {
    if (FREE.includes(request.routeOptions.url ?? '')) return
    const refusal = await gate(request.raw)
    if (refusal === undefined) return
    const { status, message, challenges } = refusal
    if (challenges.length > 0) reply.header('www-authenticate', [...challenges])
    return reply.code(status).type('text/plain; charset=utf-8').send(`${message}\n`)
  })
}
