import type { Clock, Random } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Address } from './address.ts'
import type { Beat, Vitals } from './beat.ts'
import type { DiscoveryState, Resolve } from './discovery.ts'
import type { Hold } from './member.ts'
import type { Secrets } from './secret.ts'
import type { GoneReason } from './standing.ts'

export interface MeshOptions {
  /** Holds `node.key` and `node.json`. */
  readonly dataDir: string
  readonly name: string
  /** An IP address and port to listen on; port 0 means any free port. */
  readonly listen: Address
  /** The host that peers dial; found out when absent. */
  readonly advertise?: string
  /** `host:port`, `dns:NAME:port` or `mdns`. */
  readonly join: readonly string[]
  /** Stays the caller's to close. */
  readonly secrets: Pick<Secrets, 'keys'>
  readonly deadAfterMs: number
  readonly forgetAfterMs: number
  /** Asked for each heartbeat. */
  readonly self: () => Vitals
  /** Asked for each hello. */
  readonly hello: () => OwnHello
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** All addresses of a host name; `node:dns` unless given. */
  readonly resolve?: Resolve
  /** Told of bytes on the wire, all but those of the handshake of the secret. */
  readonly onBytes?: (direction: 'received' | 'sent', bytes: number) => void
  /** How long a new connection may take to prove the cluster secret. */
  readonly handshakeTimeoutMs?: number
}

/** What the mesh cannot know of its node. */
export interface OwnHello {
  /** Where the transfer port can be dialled, `host:port`. */
  readonly transfer: string
  /** Hexadecimal SHA-256 of the DER of the transfer certificate. */
  readonly fingerprint: string
  readonly hold: Hold
}

export interface MeshEvents {
  /** The first connection to this peer has exchanged hellos. */
  connected: [peer: string]
  /** Its last connection closed. */
  disconnected: [peer: string]
  live: [peer: string]
  away: [peer: string]
  gone: [peer: string, reason: GoneReason]
  /** A heartbeat brought news of this peer. */
  beat: [peer: string, beat: Beat]
  /** A peer has published this. */
  gossip: [peer: string, payload: Uint8Array]
  /** Another process runs with our id, and we started later: this node must stop. */
  duplicate: [boot: string]
  /** Peers see this node under another host than it gave out; `address` is now this. */
  address: [address: string]
}

export interface MeshDiscovery extends DiscoveryState {
  /** No other member is known, nobody is connected, and nothing to join is unheard of. */
  readonly alone: boolean
}

/** Handles requests of one peer; the signal is aborted when the peer no longer waits or we close. */
export type RequestHandler = (
  peer: string,
  payload: Uint8Array,
  signal: AbortSignal
) => Promise<Uint8Array>
