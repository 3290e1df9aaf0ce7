import { isIP } from 'node:net'
import { resolve } from 'node:path'

/** An address to listen on. Port 0 means any free port. */
export interface HostPort {
  /** A name or an address; IPv6 without brackets. */
  readonly host: string
  readonly port: number
}

/** `host:port`, with IPv6 in brackets. */
export function formatHostPort({ host, port }: HostPort): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** What a value looks like: `parse` gives `undefined` for a text that is not as `expected` says. */
export interface Format<T> {
  readonly expected: string
  /** Where the value is a file that is to be there: what to say beside that it is not. */
  readonly absentHint?: string
  readonly parse: (text: string) => T | undefined
}

export const hostPort: Format<HostPort> = {
  expected: 'host:port, IPv6 as [address]:port, port 0 for any free port',
  parse: parseHostPort
}

export const host: Format<string> = {
  expected: 'a host name or an address, without a port',
  parse: parseHost
}

/** One place to look for peers, as the mesh reads it. */
export const joinSource: Format<string> = {
  expected: 'host:port, dns:NAME:port or mdns, with a port from 1 to 65535',
  parse: text => {
    if (text === 'mdns') return text
    const address = parseHostPort(text.startsWith('dns:') ? text.slice(4) : text)
    if (address === undefined || address.port === 0) return undefined
    return text.startsWith('dns:') && isIP(address.host) !== 0 ? undefined : text
  }
}

/** Milliseconds. */
export const duration: Format<number> = {
  expected: 'a whole number above 0 and one of ms, s, m, h, d, such as 25s',
  parse: text => {
    const [, count, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? []
    const ms = Number(count) * UNITS_MS[unit as keyof typeof UNITS_MS]
    return ms > 0 ? ms : undefined
  }
}

export const nodeName: Format<string> = {
  expected: 'letters, digits, ".", "_" and "-", at most 253, a letter or a digit at both ends',
  parse: text => (/^[A-Za-z0-9]([\w.-]{0,251}[A-Za-z0-9])?$/.test(text) ? text : undefined)
}

/** An absolute path. */
export const path: Format<string> = {
  expected: 'a path',
  parse: text => (text === '' || text.includes('\0') ? undefined : resolve(text))
}

/** The absolute path of a file that is read at the start. */
export const readFrom: Format<string> = { ...path, absentHint: '' }

/** That of the cluster secret, which the first node makes and the others are given. */
export const secretFrom: Format<string> = {
  ...path,
  absentHint:
    ': copy it from a node of the cluster, or make the first with "head -c 32 /dev/urandom | base64"'
}

/**
 * A socket's path has at most 107 bytes on Linux and 103 on macOS, and the data directory holds
 * `control.sock`.
 */
const DATA_DIR_BYTES = 90

/** The absolute path of the data directory. */
export const dataDir: Format<string> = {
  expected: `a path of at most ${DATA_DIR_BYTES} bytes once absolute, since it holds a socket`,
  parse: text => {
    const absolute = path.parse(text)
    return Buffer.byteLength(absolute ?? '') > DATA_DIR_BYTES ? undefined : absolute
  }
}

export const copies: Format<number | 'all'> = {
  expected: 'a whole number from 1, or all',
  parse: text => {
    if (text === 'all') return text
    return /^[1-9]\d{0,3}$/.test(text) ? Number(text) : undefined
  }
}

/** One of a few words. */
export function word<const Word extends string>(...words: readonly Word[]): Format<Word> {
  return {
    expected: `one of ${words.join(', ')}`,
    parse: text => words.find(each => each === text)
  }
}

const SWITCH = { on: true, off: false } as const

export const onOff: Format<boolean> = {
  expected: 'on or off',
  parse: text => (Object.hasOwn(SWITCH, text) ? SWITCH[text as keyof typeof SWITCH] : undefined)
}

/** Where clients find a service, up to its port. */
export const origin: Format<URL> = {
  expected: 'a URL such as https://registry.example:5000, without a path',
  parse: text => {
    const url = URL.parse(text)
    if (url === null || !/^https?:$/.test(url.protocol)) return undefined
    return url.href === `${url.origin}/` ? url : undefined
  }
}

/** A part of a whole, from 0 to 1. */
export const share: Format<number> = {
  expected: 'a percentage above 0 and up to 100, such as 75%',
  parse: text => {
    const percent = Number(/^(\d{1,3}(?:\.\d{1,2})?)%$/.exec(text)?.[1])
    return percent > 0 && percent <= 100 ? percent / 100 : undefined
  }
}

/** Bytes a second. */
export const byteRate: Format<number> = {
  expected: 'a whole number and one of KiB/s, MiB/s, GiB/s, such as 20MiB/s, or 0',
  parse: text => {
    if (text === '0') return 0
    const [, count, unit] = /^(\d{1,6})(KiB|MiB|GiB)\/s$/.exec(text) ?? []
    const bytes = Number(count) * UNITS_BYTES[unit as keyof typeof UNITS_BYTES]
    return bytes > 0 ? bytes : undefined
  }
}

const UNITS_BYTES = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

function parseHostPort(text: string): HostPort | undefined {
  const [, name, port] = /^(.+):(\d{1,5})$/.exec(text) ?? []
  if (name === undefined || Number(port) > 65_535) return undefined
  // Without brackets an IPv6 address could end in what looks like a port.
  if (isIP(name) === 6) return undefined
  const host = parseHost(name)
  return host === undefined ? undefined : { host, port: Number(port) }
}

/** RFC 1123 names, which also takes in IPv4, and IPv6 with or without brackets. */
function parseHost(text: string): string | undefined {
  const bare = /^\[(.+)\]$/.exec(text)?.[1]
  if (bare !== undefined) return isIP(bare) === 6 ? bare : undefined
  if (isIP(text) !== 0) return text
  const label = '[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?'
  const isName = new RegExp(`^${label}(\\.${label})*\\.?$`).test(text)
  // All digits and dots, and yet no address: a slip of the pen such as 10.0.0.256.
  return isName && text.length <= 253 && !/^[\d.]+$/.test(text) ? text : undefined
}
