import type { IncomingMessage } from 'node:http'
import { StarlingError } from '../errors.ts'
import type { Happening } from '../happening.ts'
import { controlSocket } from './control.ts'
import type { ImagePage, ImageReference } from './introspection.ts'
import { ask, linesOf, type Question } from './line-stream.ts'
import { formatReference } from './reference.ts'
import { isOfRegistry, locked, refusal, unreachable, wrongPort } from './refusal.ts'
import type { CopiesDocument, StatusDocument } from './status.ts'

/** A node that answers takes milliseconds; one that is stopped or hung would never. */
const ANSWER_TIMEOUT_MS = 10_000

/** A node that is followed shows every few seconds that it is there. */
const EVENTS_SILENCE_MS = 30_000

/** Many times a page of the largest size. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024

/**
 * Asks a running node about itself. Every method throws `UNAVAILABLE` when no node answers, and
 * `UNSUPPORTED` when what answers is none or is of another version, `DENIED` when it wants other
 * credentials.
 */
export interface AdminClient {
  /** Where the node is, in words. */
  readonly where: string
  status(page: ImagePage, signal: AbortSignal): Promise<StatusDocument>
  copies(reference: ImageReference, signal: AbortSignal): Promise<CopiesDocument>
  /** What the node has heard of lately and, when following, hears of until the signal aborts. */
  events(follow: boolean, signal: AbortSignal): AsyncIterable<Happening>
}

/** A node on this machine, through the socket in its data directory. */
export function clientOfData(dataDir: string): AdminClient {
  const socketPath = controlSocket(dataDir)
  return client(socketPath, new URL('http://node'), socketPath)
}

/** A node anywhere, through its admin port. */
export function clientOfUrl(base: URL): AdminClient {
  return client(base.origin, base)
}

function client(where: string, base: URL, socketPath?: string): AdminClient {
  const question = (
    path: string,
    parameters: Readonly<Record<string, string>>,
    signal: AbortSignal
  ): Question => {
    const url = urlOf(base, path, parameters)
    return { where, method: 'GET', url, socketPath, signal }
  }
  const get = (...asked: Parameters<typeof question>) => getJson(question(...asked))
  return {
    where,
    // The node's answer is of the type that its route promises.
    status: async (page, signal) =>
      (await get('status', pageQuery(page), signal)) as StatusDocument,
    copies: async (reference, signal) =>
      (await get('copies', { reference: formatReference(reference) }, signal)) as CopiesDocument,
    events: (follow, signal) =>
      linesOf({
        ...question('events', { follow: String(follow) }, signal),
        silenceMs: EVENTS_SILENCE_MS
      }) as AsyncIterable<Happening>
  }
}

function pageQuery({ limit, after }: ImagePage): Record<string, string> {
  const images = String(limit)
  return after === undefined ? { images } : { images, last: `${after.repository}:${after.tag}` }
}

function urlOf(base: URL, path: string, parameters: Readonly<Record<string, string>>): URL {
  const url = new URL(base)
  url.pathname = `${base.pathname.replace(/\/$/, '')}/${path}`
  url.search = new URLSearchParams(parameters).toString()
  return url
}

async function getJson(get: Question): Promise<unknown> {
  const deadline = AbortSignal.timeout(ANSWER_TIMEOUT_MS)
  try {
    const response = await ask({ ...get, signal: AbortSignal.any([get.signal, deadline]) })
    const body = await readBody(response)
    if (response.statusCode === 200) return JSON.parse(body)
    const { statusCode } = response
    if (isOfRegistry(response)) throw wrongPort(get.where, 'admin')
    if (statusCode === 401 || statusCode === 403) throw locked(get.where, statusCode, get.url)
    throw refusal(get.where, `it answered ${statusCode}`)
  } catch (cause) {
    get.signal.throwIfAborted()
    if (cause instanceof StarlingError) throw cause
    if (cause instanceof SyntaxError) throw refusal(get.where, 'it answered no JSON', cause)
    const why = deadline.aborted ? `nothing within ${ANSWER_TIMEOUT_MS / 1_000} s` : undefined
    throw unreachable(get.where, cause, why)
  }
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length
    if (sizeBytes > MAX_ANSWER_BYTES) throw new StarlingError('UNSUPPORTED', 'answer too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
