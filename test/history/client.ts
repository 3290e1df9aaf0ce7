import { createHash } from 'node:crypto'
import * as http from 'node:http'
import type { MadeImage } from '../../src/demo/image.ts'
import { digestOf } from '../../src/digest.ts'
import type { Delete, Found, Pull, Push, WriteOutcome } from './operation.ts'

/** Longer than `--ack-wait`; whoever answers later is taken not to have answered. */
const ANSWER_TIMEOUT_MS = 40_000

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

/** A push that was refused though its client had done all that the specification asks for. */
export class UnknownBlob extends Error {
  override readonly name = 'UnknownBlob'
}

/** Pushes an image under a tag as clients do: what the registry says it has is not sent. */
export async function push(
  registry: string,
  repository: string,
  tag: string,
  image: MadeImage
): Promise<Push> {
  const digest = digestOf(image.manifest)
  const base = `/v2/${repository}`
  try {
    for (const blob of image.blobs) {
      const path = `${base}/blobs/${blob.digest}`
      if ((await ask(registry, 'HEAD', path)).status === 200) continue
      const opened = await ask(registry, 'POST', `${base}/blobs/uploads/`)
      if (opened.status !== 202) return { kind: 'push', digest, outcome: 'refused' }
      const { pathname, search } = new URL(opened.headers.location ?? '', `http://${registry}`)
      const closing = `${pathname}${search}${search === '' ? '?' : '&'}digest=${blob.digest}`
      const closed = await ask(registry, 'PUT', closing, Buffer.concat([...blob.bytes()]))
      if (closed.status !== 201) return { kind: 'push', digest, outcome: 'refused' }
    }
  } catch {
    return { kind: 'push', digest, outcome: 'refused' }
  }
  const answer = await ask(
    registry,
    'PUT',
    `${base}/manifests/${tag}`,
    image.manifest,
    image.mediaType
  ).catch(() => undefined)
  if (answer?.body.includes('MANIFEST_BLOB_UNKNOWN')) throw new UnknownBlob(answer.body.toString())
  return { kind: 'push', digest, outcome: outcomeOf(answer, [201]) }
}

/** Deletes a tag; that it was not there is not promised to anyone, so it counts for nothing. */
export async function remove(registry: string, repository: string, tag: string): Promise<Delete> {
  const path = `/v2/${repository}/manifests/${tag}`
  const answer = await ask(registry, 'DELETE', path).catch(() => undefined)
  return { kind: 'delete', outcome: outcomeOf(answer, [202]) }
}

/** Pulls what a tag names and verifies all of it. */
export async function pull(registry: string, repository: string, tag: string): Promise<Pull> {
  return { kind: 'pull', found: await find(registry, repository, tag).catch(nothing) }
}

async function find(registry: string, repository: string, tag: string): Promise<Found> {
  const base = `/v2/${repository}`
  const { status, body } = await ask(registry, 'GET', `${base}/manifests/${tag}`)
  if (status === 404) return { kind: 'absent' }
  if (status !== 200) return nothing()
  const digest = digestOf(body)
  const { config, layers } = JSON.parse(body.toString()) as {
    readonly config: { readonly digest: string }
    readonly layers: readonly { readonly digest: string }[]
  }
  for (const { digest: wanted } of [config, ...layers]) {
    const answer = await ask(registry, 'GET', `${base}/blobs/${wanted}`)
    if (answer.status === 404) return { kind: 'half', digest, detail: `${wanted} is not there` }
    if (answer.status !== 200) return nothing()
    const got = `sha256:${createHash('sha256').update(answer.body).digest('hex')}`
    if (got !== wanted) return { kind: 'wrong', digest, detail: `${got} for ${wanted}` }
  }
  return { kind: 'image', digest }
}

function nothing(): Found {
  return { kind: 'nothing' }
}

/** An error of the client's making changed nothing; after one of the server's nobody knows. */
function outcomeOf(answer: Answer | undefined, done: readonly number[]): WriteOutcome {
  if (answer === undefined || answer.status >= 500) return 'unknown'
  if (!done.includes(answer.status)) return 'refused'
  return answer.headers.warning === undefined ? 'done' : 'warned'
}

/** A connection for each request, so that a node that was killed leaves none behind. */
function ask(
  registry: string,
  method: string,
  path: string,
  body?: Uint8Array,
  mediaType = 'application/octet-stream'
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const headers = body && { 'content-type': mediaType, 'content-length': body.length }
  const request = http.request(`http://${registry}${path}`, {
    ...{ method, agent: false },
    ...(headers && { headers }),
    signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS)
  })
  request.once('error', reject)
  request.once('response', response => {
    response.toArray().then(chunks => {
      const { statusCode = 0 } = response
      resolve({ status: statusCode, headers: response.headers, body: Buffer.concat(chunks) })
    }, reject)
  })
  request.end(body)
  return promise
}
