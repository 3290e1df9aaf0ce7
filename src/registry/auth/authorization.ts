import { isUserName } from './principal.ts'

/** What an `Authorization` header says. */
export type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'password'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string }
  /** A scheme that we do not know, or not as its scheme has it. */
  | { readonly kind: 'unreadable' }

/** bcrypt looks no further, so that of a longer password the end could be anything. */
export const MAX_PASSWORD_BYTES = 72

/**
 * Reads an `Authorization` header (RFC 7617, RFC 6750). Containers/image sends an empty user and an
 * empty password when it has none to send, which counts as no header.
 */
export function parseAuthorization(header: string | undefined): Credentials {
  if (header === undefined) return { kind: 'none' }
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([^ ]+) *$/.exec(header) ?? []
  switch (scheme.toLowerCase()) {
    case 'basic':
      return parseBasic(value)
    case 'bearer':
      return { kind: 'token', token: value }
    default:
      return { kind: 'unreadable' }
  }
}

/** A user and a password, where they can be ones. */
export function passwordOf(user: string, password: string): Credentials {
  if (user === '' && password === '') return { kind: 'none' }
  const fits = Buffer.byteLength(password) <= MAX_PASSWORD_BYTES && !/\p{Cc}/u.test(password)
  return fits && isUserName(user) ? { kind: 'password', user, password } : { kind: 'unreadable' }
}

function parseBasic(value: string): Credentials {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return { kind: 'unreadable' }
  const text = Buffer.from(value, 'base64').toString('utf8')
  const colonAt = text.indexOf(':')
  if (colonAt === -1) return { kind: 'unreadable' }
  return passwordOf(text.slice(0, colonAt), text.slice(colonAt + 1))
}
