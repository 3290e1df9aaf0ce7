import { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Operations } from './operations.ts'

/** Adds what changes something or costs much. Never to a TCP port. */
export function addOperationRoutes(app: FastifyInstance, operations: Operations): void {
  app.post<{ Querystring: { dryRun?: string; now?: string } }>('/collect', ({ query }) =>
    operations.collect({ dryRun: query.dryRun === 'true', now: query.now === 'true' })
  )
  app.post<{ Querystring: { name?: string } }>('/forget', ({ query }) =>
    operations.forget(query.name ?? '')
  )
  app.post('/verify', (_request, reply) =>
    reply.type('application/jsonl').send(Readable.from(linesOf(operations.verify())))
  )
}

async function* linesOf(documents: AsyncIterable<unknown>): AsyncGenerator<string, void> {
  for await (const document of documents) yield `${JSON.stringify(document)}\n`
}
