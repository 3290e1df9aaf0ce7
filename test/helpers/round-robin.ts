import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse, request as send } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One address for several registries. */
export interface RoundRobin extends AsyncDisposable {
  /** `host:port`. */
  readonly address: string
  /** Where each request went, by position among the targets. */
  readonly taken: readonly { readonly method: string; readonly target: number }[]
}

/**
 * Spreads requests over registries, each to the next in turn, as a load balancer that knows nothing
 * of them: it keeps every header, and passes `Expect` and its answer through.
 */
export async function startRoundRobin(targets: readonly string[]): Promise<RoundRobin> {
  const taken: { method: string; target: number }[] = []
  const pass = (request: IncomingMessage, response: ServerResponse) => {
    const target = taken.length % targets.length
    const { method = 'GET', url = '/', headers } = request
    taken.push({ method, target })
    const onward = send(`http://${targets[target]}${url}`, { method, headers, agent: false })
    onward.on('continue', () => {
      response.writeContinue()
      request.pipe(onward)
    })
    onward.on('response', answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    if (headers.expect === undefined) request.pipe(onward)
  }
  const server = createServer(pass).on('checkContinue', pass)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}
