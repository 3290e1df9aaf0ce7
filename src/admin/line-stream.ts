import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { createInterface } from 'node:readline'
import { StarlingError } from '../errors.ts'
import { isOfRegistry, locked, refusal, unreachable, wrongPort } from './refusal.ts'

/** A question to a node, through a socket or at a URL. */
export interface Question {
  /** Where the node is, in words. */
  readonly where: string
  readonly method: 'GET' | 'POST'
  readonly url: URL
  readonly socketPath?: string | undefined
  readonly signal: AbortSignal
}

/** Asks, and gives the head of the answer. */
export function ask({ url, socketPath, method, signal }: Question): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest
    const where = socketPath !== undefined && { socketPath }
    request(url, { ...where, method, signal, agent: false })
      .once('response', resolve)
      .once('error', reject)
      .end()
  })
}

/**
 * The answer to a question, one JSON document after the other as they come; empty lines only show
 * that the node is there. Throws `UNAVAILABLE` when no node answers, it stops in the middle or says
 * nothing for so long; else as {@link refusal} and {@link locked} say.
 */
export async function* linesOf(
  question: Question & { readonly silenceMs: number }
): AsyncGenerator<unknown, void> {
  const { where, signal, silenceMs } = question
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(), silenceMs)
  try {
    const either = AbortSignal.any([signal, silence.signal])
    const response = await ask({ ...question, signal: either })
    const { statusCode } = response
    if (isOfRegistry(response)) throw wrongPort(where, 'admin')
    if (statusCode === 401 || statusCode === 403) throw locked(where, statusCode, question.url)
    if (statusCode !== 200) throw refusal(where, `it answered ${statusCode}`)
    for await (const line of createInterface(response)) {
      timer.refresh()
      if (line !== '') yield JSON.parse(line)
    }
    if (!response.complete) throw new StarlingError('UNAVAILABLE', `${where} broke off`)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof StarlingError) throw cause
    if (cause instanceof SyntaxError) throw refusal(where, 'it answered no JSON', cause)
    const why = silence.signal.aborted ? `nothing within ${silenceMs / 1_000} s` : undefined
    throw unreachable(where, cause, why)
  } finally {
    clearTimeout(timer)
  }
}
