import { createHmac, hkdfSync, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { ACTIONS, type Grant, isUserName, type Scope } from './principal.ts'

export interface TokensOptions {
  /** Secrets that all nodes of the cluster have: the first signs, all are accepted. */
  readonly clusterKeys: () => readonly Buffer[]
  readonly clock: Clock
}

/** What a token says: that its bearer is this user, or nobody, and may do so much. */
export interface TokenClaims {
  readonly user: string | undefined
  readonly scope: Scope
}

export interface IssuedToken {
  readonly token: string
  readonly expiresInSeconds: number
  readonly issuedAt: Date
}

/** What tokens are issued by and for; clients ask for the `service` by this name. */
export const SERVICE = 'starling'

/** Long enough for the manifests and the start of each blob of a pull; clients ask for another then. */
const LIFETIME_SECONDS = 300

/** How much the clocks of two nodes may differ, as with the stamps of records. */
const LEEWAY_SECONDS = 300

/** A longer one would not fit into the header fields of a request. */
const MAX_TOKEN_LENGTH = 8_192

/**
 * The only header there is. It is compared as a whole: a token has no say in how it is verified, so
 * there is no algorithm to confuse and no key to bring along (CVE-2025-24976).
 */
const HEADER = base64url('{"alg":"HS256","typ":"JWT"}')

/**
 * Bearer tokens: JSON web tokens, signed with a key that every node of the cluster derives from
 * their secret, so that any node takes the tokens of any other.
 *
 * @see RFC 7519, and the claims of distribution's "Token Authentication Implementation"
 */
export class Tokens {
  readonly #options: TokensOptions
  /** A secret keeps its buffer for as long as it is in use. */
  readonly #derived = new WeakMap<Buffer, Buffer>()

  constructor(options: TokensOptions) {
    this.#options = options
  }

  issue({ user, scope }: TokenClaims): IssuedToken {
    const issuedAtSeconds = this.#nowSeconds()
    const claims = {
      iss: SERVICE,
      aud: SERVICE,
      sub: user ?? '',
      iat: issuedAtSeconds,
      nbf: issuedAtSeconds,
      exp: issuedAtSeconds + LIFETIME_SECONDS,
      jti: randomUUID(),
      access: scope
    }
    const signed = `${HEADER}.${base64url(JSON.stringify(claims))}`
    const [key] = this.#keys()
    if (key === undefined) throw new Error('a cluster has at least one secret')
    return {
      token: `${signed}.${sign(key, signed)}`,
      expiresInSeconds: LIFETIME_SECONDS,
      issuedAt: new Date(issuedAtSeconds * 1000)
    }
  }

  /** What a token says, or `undefined` when it is none of ours or not of this time. */
  verify(token: string): TokenClaims | undefined {
    if (token.length > MAX_TOKEN_LENGTH) return undefined
    const [header, payload = '', signature = '', ...rest] = token.split('.')
    if (header !== HEADER || rest.length > 0) return undefined
    const signed = `${HEADER}.${payload}`
    if (!this.#keys().some(key => isEqual(sign(key, signed), signature))) return undefined
    // What carries the signature was written by us, so it is JSON.
    return this.#read(JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')))
  }

  #read(claims: unknown): TokenClaims | undefined {
    if (!isObject(claims) || claims['iss'] !== SERVICE || claims['aud'] !== SERVICE)
      return undefined
    const { sub, nbf, exp, access } = claims
    const nowSeconds = this.#nowSeconds()
    const isOfNow =
      typeof nbf === 'number' &&
      typeof exp === 'number' &&
      nbf - LEEWAY_SECONDS <= nowSeconds &&
      nowSeconds < exp + LEEWAY_SECONDS
    const isSomebody = sub === '' || (typeof sub === 'string' && isUserName(sub))
    if (!isOfNow || !isSomebody || !Array.isArray(access) || !access.every(isGrant))
      return undefined
    return { user: sub === '' ? undefined : sub, scope: access }
  }

  #keys(): readonly Buffer[] {
    return this.#options.clusterKeys().map(secret => {
      const known = this.#derived.get(secret)
      const key =
        known ?? Buffer.from(hkdfSync('sha256', secret, '', 'starling registry token 1', 32))
      if (known === undefined) this.#derived.set(secret, key)
      return key
    })
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.clock.now() / 1000)
  }
}

function sign(key: Buffer, signed: string): string {
  return createHmac('sha256', key).update(signed).digest('base64url')
}

function isEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url')
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isGrant(value: unknown): value is Grant {
  if (!isObject(value) || typeof value['name'] !== 'string') return false
  const actions: unknown = value['actions']
  if (!Array.isArray(actions)) return false
  return value['type'] === 'registry'
    ? value['name'] === 'catalog'
    : value['type'] === 'repository' && actions.every(action => ACTIONS.includes(action))
}
