import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Relay extends AsyncDisposable {
  readonly port: number
  /** How many connections were made through it. */
  readonly accepted: number
}

/**
 * Passes bytes between its clients and the port. `fromClient` may send what a client says its own
 * way; by default it goes through at once.
 */
export async function startRelay(
  to: number,
  fromClient: (client: Socket, server: Socket) => void = (client, server) => client.pipe(server)
): Promise<Relay> {
  const sockets = new Set<Socket>()
  let accepted = 0
  const relay = createServer(client => {
    accepted++
    const server = connect(to, '127.0.0.1')
    fromClient(client, server)
    server.pipe(client)
    bind(client, server)
    bind(server, client)
    sockets.add(client).add(server)
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  return {
    port: (relay.address() as AddressInfo).port,
    get accepted() {
      return accepted
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      relay.close()
      await once(relay, 'close')
    }
  }
}

function bind(one: Socket, other: Socket): void {
  one.on('error', () => {})
  one.on('close', () => other.destroy())
}

/**
 * Holds back what a client says after its first packet until it has been quiet: by then it has sent
 * the end of its handshake and its request, and the server gets them in one piece.
 */
export function inOnePiece(client: Socket, server: Socket): void {
  const held: Buffer[] = []
  client.once('data', hello => {
    server.write(hello)
    client.on('data', chunk => held.push(chunk))
    client.setTimeout(100, () => server.write(Buffer.concat(held.splice(0))))
  })
}
