import { isIP, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { StarlingError } from '../errors.ts'

/** Where something listens: a host (name, IPv4 or IPv6 without brackets) and a TCP port. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** A host name is at most 253 characters (RFC 1035, section 2.3.4); the rest is brackets and port. */
export const MAX_ADDRESS_LENGTH = 262

const ADDRESS = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/

/** Reads `host:port` or `[ipv6]:port`, or gives `undefined`. */
export function tryAddress(text: string): Address | undefined {
  const match = ADDRESS.exec(text)
  if (match === null) return undefined
  const [, bracketed, plain, digits] = match
  const host = bracketed ?? plain ?? ''
  const port = Number(digits)
  if (port < 1 || port > 65_535) return undefined
  if (bracketed !== undefined && !isIPv6(bracketed)) return undefined
  return { host, port }
}

/** Reads `host:port` or `[ipv6]:port`; throws `CONFIG_INVALID`. */
export function parseAddress(text: string): Address {
  const address = tryAddress(text)
  if (address === undefined) {
    throw new StarlingError('CONFIG_INVALID', `"${text}" is not host:port (IPv6 in brackets)`)
  }
  return address
}

export function formatAddress({ host, port }: Address): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

/** The multiaddr of an address whose host is an IP; names must be resolved before. */
export function toMultiaddr({ host, port }: Address): Multiaddr {
  return multiaddr(`/ip${isIPv6(host) ? 6 : 4}/${host}/tcp/${port}`)
}

/** The IP and TCP port of a multiaddr, if that is what it names. IPv4 inside IPv6 becomes IPv4. */
export function fromMultiaddr(address: Multiaddr): Address | undefined {
  let host: string | undefined
  let port: number | undefined
  for (const { name, value } of address.getComponents()) {
    if (name === 'ip4' || name === 'ip6') host = value
    if (name === 'tcp') port = Number(value)
  }
  if (host === undefined || port === undefined) return undefined
  return { host: host.replace(/^::ffff:(?=\d+\.)/i, ''), port }
}

/** Whether a listening host means every interface, so that it cannot be dialled as it is. */
export function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '::' || host === ''
}

/** The addresses of this machine that others may reach, in the order the system gives them. */
export function externalHosts(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap(entries => entries ?? [])
    .filter(entry => !entry.internal && !entry.address.startsWith('fe80:'))
    .sort((a, b) => Number(a.family === 'IPv6') - Number(b.family === 'IPv6'))
    .map(entry => entry.address)
}

/** A host that peers can dial: what the operator says, else what is listened on, else a guess. */
export function dialableHost(listenHost: string, advertise: string | undefined): string {
  if (advertise !== undefined) return advertise
  if (!isUnspecified(listenHost)) return listenHost
  return externalHosts()[0] ?? '127.0.0.1'
}

export function isIp(host: string): boolean {
  return isIP(host) !== 0
}
