import type { ClientRequest, IncomingMessage } from 'node:http'
import { StarlingError, systemCode } from '../errors.ts'

/** The head of the answer to a request; rejects when the request ends without one. */
export function responseOf(sent: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.once('response', resolve)
    sent.once('error', reject)
    sent.once('close', () => reject(new Error('closed without an answer')))
  })
}

/** Whether `PEER_FAILED` was thrown since the other side had closed the connection. */
export function isHangUp(error: unknown): boolean {
  const cause = error instanceof StarlingError ? error.cause : undefined
  const code = systemCode(cause)
  return code === 'ECONNRESET' || code === 'EPIPE'
}

/** Gives the connection back if there is nothing to read, else closes it: a body costs more. */
export async function discard(response: IncomingMessage): Promise<void> {
  if (response.closed) return
  const empty = response.headers['content-length'] === '0'
  const closed = new Promise(resolve => response.once('close', resolve))
  if (empty) response.resume()
  else response.destroy()
  await closed
}
