import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { StarlingError } from '../errors.ts'
import type { ImagePage, Introspection } from './introspection.ts'
import { parseReference, REFERENCE_FORMAT } from './reference.ts'

/** Enough for most clusters at one look; more are had page by page. */
const DEFAULT_IMAGES = 100

/** Bounds one answer to some hundred kilobytes. */
const MAX_IMAGES = 1_000

/** Prometheus text format 0.0.4, which every scraper reads. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

const INDEX = `Starling

/healthz            200 while the process works
/readyz             200 when ready, else 503 and the reason
/metrics            Prometheus text
/status             the node as JSON; ?images=N&last=REPOSITORY:TAG pages the images
/copies?reference=  who holds an image, as JSON
/events             what changed lately, a JSON object on a line; ?follow=true goes on
`

/** Adds what may be asked of a node. All of it reads, nothing changes anything. */
export function addRoutes(app: FastifyInstance, introspection: Introspection): void {
  app.get('/', (_request, reply) => sendText(reply, 200, INDEX))
  app.get('/healthz', (_request, reply) => sendText(reply, 200, 'ok\n'))
  app.get('/readyz', (_request, reply) => {
    const { ready, reason } = introspection.readiness()
    return sendText(reply, ready ? 200 : 503, `${reason}\n`)
  })
  app.get('/metrics', async (_request, reply) =>
    reply.type(METRICS_TYPE).send(await introspection.metrics())
  )
  app.get<{ Querystring: Query }>('/status', request =>
    introspection.status(parsePage(request.query))
  )
  app.get<{ Querystring: Query }>('/copies', request => {
    const reference = parseReference(single(request.query['reference']) ?? '')
    if (reference === undefined) throw badQuery('reference', REFERENCE_FORMAT)
    return introspection.copies(reference)
  })
  app.get<{ Querystring: Query }>('/events', (request, reply) => {
    reply.type('application/jsonl')
    if (request.query['follow'] !== 'true') {
      return reply.send(introspection.past().map(toLine).join(''))
    }
    const gone = new AbortController()
    const pulse = setInterval(() => reply.raw.write('\n'), ALIVE_MS)
    reply.raw.once('close', () => {
      clearInterval(pulse)
      gone.abort()
    })
    return reply.send(Readable.from(linesOf(introspection.follow(gone.signal))))
  })
  app.setErrorHandler((error, _request, reply) => {
    const refused = error instanceof StarlingError && error.code === 'UNSUPPORTED'
    const message = error instanceof Error ? error.message : String(error)
    return reply.code(refused ? 400 : 500).send({ error: message })
  })
  app.setNotFoundHandler((_request, reply) => sendText(reply, 404, INDEX))
}

/** An empty line now and then shows a reader that the node is there. */
const ALIVE_MS = 10_000

/** The first line is empty, so that a reader has the head of the answer at once. */
async function* linesOf(documents: AsyncIterable<unknown>): AsyncGenerator<string, void> {
  yield '\n'
  for await (const document of documents) yield toLine(document)
}

function toLine(document: unknown): string {
  return `${JSON.stringify(document)}\n`
}

/** A parameter given twice is an array. */
type Query = Readonly<Record<string, string | readonly string[] | undefined>>

function parsePage(query: Query): ImagePage {
  const limit = parseLimit(query['images'])
  if (query['last'] === undefined) return { limit }
  const after = parseReference(single(query['last']) ?? '')
  if (after?.kind !== 'tag') throw badQuery('last', 'repository:tag')
  return { limit, after }
}

function parseLimit(given: Query[string]): number {
  if (given === undefined) return DEFAULT_IMAGES
  const limit = /^\d{1,4}$/.test(single(given) ?? '') ? Number(given) : Number.NaN
  if (!(limit <= MAX_IMAGES)) throw badQuery('images', `a number from 0 to ${MAX_IMAGES}`)
  return limit
}

function single(given: Query[string]): string | undefined {
  return typeof given === 'string' ? given : undefined
}

function badQuery(parameter: string, expected: string): StarlingError {
  return new StarlingError('UNSUPPORTED', `?${parameter}: expected ${expected}`)
}

function sendText(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply.code(status).type('text/plain; charset=utf-8').send(text)
}
