import { encode } from 'cborg'
import { StarlingError } from '../errors.ts'
import { MAX_ADDRESS_LENGTH, tryAddress } from './address.ts'
import { MAX_BOOT_LENGTH } from './beat.ts'
import { Fields } from './fields.ts'
import {
  compatible,
  MAX_MEMBER_ADDRESSES,
  MAX_NAME_LENGTH,
  type MemberInfo,
  PROTOCOL,
  type ProtocolRange
} from './member.ts'

/** What two nodes tell each other first on every connection. Who speaks is known from Noise. */
export interface Hello extends Omit<MemberInfo, 'id'> {
  readonly boot: string
  readonly bootedAt: number
  /** Hexadecimal SHA-256 of the DER of the certificate of the transfer port. */
  readonly fingerprint: string
  /** Fingerprint of the records it has. */
  readonly root: string
  /** The host under which the sender sees the receiver of this hello. */
  readonly observedHost: string
}

export const MAX_HELLO_BYTES = 8 * 1024

const FINGERPRINT = /^[0-9a-f]{64}$/
const MAX_ROOT_LENGTH = 128

export function encodeHello(hello: Hello): Uint8Array {
  return encode(hello)
}

/** Throws `PEER_REFUSED` for a peer whose protocol we do not share, `PEER_FAILED` for nonsense. */
export function decodeHello(bytes: Uint8Array): Hello {
  const fields = new Fields(bytes)
  // The range is read before anything else: of a protocol we do not speak we know no other field.
  const protocol = readProtocol(fields)
  const fingerprint = fields.text('fingerprint', 64)
  const transfer = fields.text('transfer', MAX_ADDRESS_LENGTH)
  const name = fields.text('name', MAX_NAME_LENGTH)
  if (!FINGERPRINT.test(fingerprint) || tryAddress(transfer) === undefined || name === '') {
    throw new StarlingError('PEER_FAILED', 'a hello with a broken name, address or fingerprint')
  }
  const mesh = fields.texts('mesh', MAX_MEMBER_ADDRESSES, MAX_ADDRESS_LENGTH)
  return {
    protocol,
    name,
    boot: fields.text('boot', MAX_BOOT_LENGTH),
    bootedAt: fields.count('bootedAt'),
    mesh: mesh.filter(address => tryAddress(address) !== undefined),
    transfer,
    fingerprint,
    hold: fields.word('hold', ['all', 'none']),
    root: fields.text('root', MAX_ROOT_LENGTH),
    observedHost: fields.text('observedHost', MAX_ADDRESS_LENGTH)
  }
}

/** The member that said this hello. */
export function memberOf(id: string, hello: Omit<Hello, 'observedHost'>): MemberInfo {
  const { name, mesh, transfer, protocol, hold } = hello
  return { id, name, mesh, transfer, protocol, hold }
}

function readProtocol(fields: Fields): ProtocolRange {
  const [lowest = 0, highest = 0] = fields.counts('protocol', 2)
  const protocol: ProtocolRange = [lowest, highest]
  if (!compatible(protocol, PROTOCOL)) {
    const ours = PROTOCOL.join(' to ')
    throw new StarlingError(
      'PEER_REFUSED',
      `the peer speaks mesh protocol ${protocol.join(' to ')}, this node ${ours}`
    )
  }
  return protocol
}
