import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { StarlingError, systemCode } from '../../errors.ts'
import { adviceOn } from '../refusal.ts'
import { formatBytes } from '../render.ts'

/** As many as browsers and curl put up with, and no loop. */
const MAX_REDIRECTS = 10

/** A server that says nothing for so long has given up. */
const SILENCE_MS = 60_000

/** A file that is read as it comes from a web server. */
export interface Download {
  readonly sizeBytes: number | undefined
  readonly bytes: AsyncIterable<Buffer>
}

/**
 * Begins to read a file at an http or https URL; redirects are followed. A user and a password in
 * the URL are sent as HTTP Basic, to that host alone.
 *
 * @throws `PEER_FAILED`, saying what to do: when the file is not given, and, while it is read, when
 *   it breaks off
 */
export async function download(
  url: URL,
  signal: AbortSignal,
  silenceMs = SILENCE_MS
): Promise<Download> {
  let at = url
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await get(at, signal, silenceMs)
    const { statusCode = 0, headers } = response
    if (statusCode === 200) {
      const length = Number(headers['content-length'])
      const sizeBytes = headers['content-length'] === undefined ? undefined : length
      return { sizeBytes, bytes: body(response, at, sizeBytes, silenceMs) }
    }
    response.destroy()
    if (statusCode < 300 || statusCode > 399 || headers.location === undefined) {
      throw failed(at, `the server answered ${statusCode}; ${adviceOnStatus(statusCode)}`)
    }
    at = redirected(at, headers.location)
  }
  throw failed(url, `it was redirected more than ${MAX_REDIRECTS} times`)
}

function get(url: URL, signal: AbortSignal, silenceMs: number): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const sent = request(url, { signal, agent: false, timeout: silenceMs })
  sent.once('response', resolve).once('error', reject)
  sent.once('timeout', () => sent.destroy(silence(url, silenceMs)))
  sent.end()
  return promise.catch((cause: unknown) => {
    signal.throwIfAborted()
    throw broken(url, cause)
  })
}

/** A pause is the server's only when the reader has taken all that came. */
async function* body(
  response: IncomingMessage,
  url: URL,
  sizeBytes: number | undefined,
  silenceMs: number
): AsyncGenerator<Buffer, void> {
  let doneBytes = 0
  const onSilence = () => {
    if (response.readableLength === 0) response.destroy(silence(url, silenceMs))
  }
  response.socket.setTimeout(silenceMs, onSilence)
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      doneBytes += chunk.length
      yield chunk
    }
  } catch (cause) {
    if (cause instanceof Error && cause.name === 'AbortError') throw cause
    const of = sizeBytes === undefined ? '' : ` of ${formatBytes(sizeBytes)}`
    const reason = cause instanceof StarlingError ? cause.message : (systemCode(cause) ?? cause)
    const what = `broke off after ${formatBytes(doneBytes)}${of} (${reason})`
    const way = 'run the command again: what has been stored is not sent twice'
    throw failed(
      url,
      `${what}; ${way}, or download the file with a tool that resumes and import it`
    )
  }
}

function redirected(from: URL, location: string): URL {
  const to = URL.parse(location, from.href)
  if (to === null || !/^https?:$/.test(to.protocol)) {
    throw failed(from, `it is redirected to ${location}, which is no http or https URL`)
  }
  if (to.host === from.host && to.username === '') {
    to.username = from.username
    to.password = from.password
  }
  return to
}

function adviceOnStatus(status: number): string {
  if (status === 401) return 'give a user and a password as https://USER:PASSWORD@HOST/PATH'
  if (status === 403) return 'whoever asks may not read it'
  if (status === 404 || status === 410) return 'look whether the address is right'
  return status >= 500 ? 'try again later' : 'look whether the address is that of the file itself'
}

function broken(url: URL, cause: unknown): StarlingError {
  if (cause instanceof StarlingError) return failed(url, cause.message, cause)
  const code = systemCode(cause)
  const advice = code === undefined ? undefined : adviceOn(code)
  return failed(url, advice === undefined ? String(code ?? cause) : `${advice} (${code})`, cause)
}

function silence(url: URL, silenceMs: number): StarlingError {
  return new StarlingError('PEER_FAILED', `${url.host} said nothing for ${silenceMs / 1_000} s`)
}

/** Without the password that may be in it. */
function failed(url: URL, reason: string, cause?: unknown): StarlingError {
  const shown = `${url.origin}${url.pathname}`
  return new StarlingError('PEER_FAILED', `${shown} cannot be read: ${reason}`, { cause })
}
