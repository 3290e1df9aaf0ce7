import { tryAddress } from './address.ts'
import type { Beat } from './beat.ts'
import type { Hello } from './hello.ts'
import type { Hold } from './member.ts'
import type { Member } from './membership.ts'

/** What this node knows of another member at one moment. */
export interface PeerView {
  readonly id: string
  readonly name: string
  /** Where its mesh port can be dialled, `host:port`. */
  readonly address: string
  readonly state: 'live' | 'away' | 'gone'
  readonly connected: boolean
  /** Milliseconds since it was last heard, directly or relayed; `undefined` when never. */
  readonly lastHeardMs: number | undefined
  /** Where its transfer port is, and whose certificate to expect there; only while pinned. */
  readonly transfer: TransferEnd | undefined
  /** Its last heartbeat. */
  readonly beat: Beat | undefined
  readonly hold: Hold
}

export interface TransferEnd {
  readonly host: string
  readonly port: number
  /** Hexadecimal SHA-256 of the DER of its certificate. */
  readonly fingerprint: string
}

export function viewOf(
  member: Member,
  connected: boolean,
  pinned: Hello | undefined,
  nowMs: number
): PeerView {
  const { info, standing, beat, heardAtMs } = member
  return {
    id: info.id,
    name: info.name,
    address: info.mesh[0] ?? '',
    state: standing.kind,
    connected,
    lastHeardMs: heardAtMs === undefined ? undefined : nowMs - heardAtMs,
    transfer: pinned === undefined ? undefined : transferOf(pinned),
    beat,
    hold: info.hold
  }
}

function transferOf({ transfer, fingerprint }: Hello): TransferEnd | undefined {
  const address = tryAddress(transfer)
  return address === undefined ? undefined : { ...address, fingerprint }
}
