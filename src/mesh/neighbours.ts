import type { Connection } from '@libp2p/interface'
import { StarlingError } from '../errors.ts'
import { formatAddress, fromMultiaddr, tryAddress } from './address.ts'
import type { Hello } from './hello.ts'

/** One connection whose hello is done. */
export interface Link {
  readonly connection: Connection
  readonly peer: string
  readonly boot: string
  /** Milliseconds, counted while this node runs, since a heartbeat came over it. */
  silentMs: number
  /** Milliseconds, counted the same way, since gossip that the peer itself sent out was heard. */
  deafMs: number
  /** A heartbeat is under way. */
  beating: boolean
}

/** The last hello of a peer, and when its last connection closed if it did. */
interface Pin {
  readonly hello: Hello
  readonly closedAtMs: number | undefined
}

/** A pin outlives its connection by this: transfers go on while the mesh reconnects (design, section 7). */
const PIN_GRACE_MS = 60_000

/** The connections of this node, from the moment both ends said hello, and what their peers said. */
export class Neighbours {
  readonly #links = new Map<string, Link>()
  readonly #pins = new Map<string, Pin>()
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>()

  /** Adds a connection; `first` when the peer was not connected before. */
  add(connection: Connection, hello: Hello): { readonly link: Link; readonly first: boolean } {
    const peer = connection.remotePeer.toString()
    const first = !this.isConnected(peer)
    const { boot } = hello
    const link: Link = { connection, peer, boot, silentMs: 0, deafMs: 0, beating: false }
    this.#links.set(connection.id, link)
    this.#pins.set(peer, { hello, closedAtMs: undefined })
    this.#waiting.get(connection.id)?.resolve()
    this.#waiting.delete(connection.id)
    return { link, first }
  }

  /** Removes a connection; gives its link if its hello was done. */
  remove(connection: Connection, nowMs: number): Link | undefined {
    this.#waiting.get(connection.id)?.reject(new StarlingError('PEER_FAILED', 'connection closed'))
    this.#waiting.delete(connection.id)
    const link = this.#links.get(connection.id)
    if (link === undefined) return undefined
    this.#links.delete(connection.id)
    const pin = this.#pins.get(link.peer)
    if (pin !== undefined && !this.isConnected(link.peer)) {
      this.#pins.set(link.peer, { ...pin, closedAtMs: nowMs })
    }
    return link
  }

  /** Resolves once the hello of this connection is done; rejects when it closes before. */
  async greeted(connection: Connection, signal: AbortSignal): Promise<void> {
    if (this.#links.has(connection.id)) return
    if (connection.status !== 'open') throw new StarlingError('PEER_FAILED', 'connection closed')
    const waiting = this.#waiting.get(connection.id) ?? Promise.withResolvers<void>()
    this.#waiting.set(connection.id, waiting)
    await abortable(waiting.promise, signal)
  }

  link(connection: Connection): Link | undefined {
    return this.#links.get(connection.id)
  }

  links(): readonly Link[] {
    return [...this.#links.values()]
  }

  linksOf(peer: string): readonly Link[] {
    return this.links().filter(link => link.peer === peer)
  }

  /** An open connection to this peer, the oldest one. */
  connectionTo(peer: string): Connection | undefined {
    return this.linksOf(peer).find(link => link.connection.status === 'open')?.connection
  }

  isConnected(peer: string): boolean {
    for (const link of this.#links.values()) if (link.peer === peer) return true
    return false
  }

  /** Where the connected peers listen, `host:port`: what they say, and as this node sees them. */
  addresses(): ReadonlySet<string> {
    const addresses = new Set<string>()
    for (const { connection, peer } of this.#links.values()) {
      const seen = fromMultiaddr(connection.remoteAddr)
      for (const said of this.#pins.get(peer)?.hello.mesh ?? []) {
        addresses.add(said)
        const port = tryAddress(said)?.port
        if (seen !== undefined && port !== undefined) {
          addresses.add(formatAddress({ host: seen.host, port }))
        }
      }
    }
    return addresses
  }

  /** The last hello of a peer, while its pin lives. */
  pinned(peer: string, nowMs: number): Hello | undefined {
    const pin = this.#pins.get(peer)
    if (pin === undefined) return undefined
    if (pin.closedAtMs === undefined || nowMs - pin.closedAtMs < PIN_GRACE_MS) return pin.hello
    this.#pins.delete(peer)
    return undefined
  }

  /** The peer whose certificate has this fingerprint, while its pin lives. */
  holderOf(fingerprint: string, nowMs: number): string | undefined {
    for (const peer of [...this.#pins.keys()]) {
      if (this.pinned(peer, nowMs)?.fingerprint === fingerprint) return peer
    }
    return undefined
  }

  /** A forgotten peer is no longer to be trusted with transfers. */
  unpin(peer: string): void {
    if (!this.isConnected(peer)) this.#pins.delete(peer)
  }
}

function abortable(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
