import { StarlingError } from '../errors.ts'
import { type Address, tryAddress } from './address.ts'

/** One `--join`: an address, a DNS name with any number of addresses, or multicast DNS. */
export type Join =
  | { readonly kind: 'static'; readonly text: string; readonly address: Address }
  | { readonly kind: 'dns'; readonly text: string; readonly address: Address }
  | { readonly kind: 'mdns'; readonly text: string }

/** Reads `host:port`, `dns:NAME:port` or `mdns`; throws `CONFIG_INVALID`. */
export function parseJoin(text: string): Join {
  if (text === 'mdns') return { kind: 'mdns', text }
  const kind = text.startsWith('dns:') ? 'dns' : 'static'
  const address = tryAddress(kind === 'dns' ? text.slice('dns:'.length) : text)
  if (address !== undefined) return { kind, text, address }
  throw new StarlingError('CONFIG_INVALID', `"${text}" is not host:port, dns:NAME:port or mdns`)
}
