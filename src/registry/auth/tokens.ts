import { createHmac, hash, hkdfSync, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { Cache } from '../../cache.ts'
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

/** A client has one for each scope it works with; what is forgotten is only verified again. */
const MAX_VERIFIED = 4_096

/** What a token that one of our keys has signed says, and the secret that the key is from. */
interface Verified extends TokenClaims {
  readonly secret: Buffer
  readonly notBeforeSeconds: number
  readonly untilSeconds: number
}

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
  /**
   * Tokens by a hash that only this process can make, so that nobody can tell from the time it takes
   * what one is looked up by. A pull sends the same token with every request.
   */
  readonly #verified = new Cache<string, Verified>(MAX_VERIFIED, () => 1)
  readonly #salt = randomBytes(32).toString('base64')

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
    const [secret] = this.#options.clusterKeys()
    if (secret === undefined) throw new Error('a cluster has at least one secret')
    return {
      token: `${signed}.${sign(this.#keyOf(secret), signed)}`,
      expiresInSeconds: LIFETIME_SECONDS,
      issuedAt: new Date(issuedAtSeconds * 1000)
    }
  }

  /** What a token says, or `undefined` when it is none of ours or not of this time. */
  verify(token: string): TokenClaims | undefined {
    if (token.length > MAX_TOKEN_LENGTH) return undefined
    const secrets = this.#options.clusterKeys()
    const name = hash('sha256', this.#salt + token, 'base64')
    const known = this.#verified.get(name)
    // A secret that was taken out of use takes what it signed with it.
    const isKnown = known !== undefined && secrets.includes(known.secret)
    const verified = isKnown ? known : this.#check(token, secrets)
    if (verified === undefined) return undefined
    if (!isKnown) this.#verified.set(name, verified)
    return this.#isOfNow(verified) ? { user: verified.user, scope: verified.scope } : undefined
  }

  #check(token: string, secrets: readonly Buffer[]): Verified | undefined {
    const [header, payload = '', signature = '', ...rest] = token.split('.')
    if (header !== HEADER || rest.length > 0) return undefined
    const signed = `${HEADER}.${payload}`
    const secret = secrets.find(each => isEqual(sign(this.#keyOf(each), signed), signature))
    if (secret === undefined) return undefined
    // What carries the signature was written by us, so it is JSON.
    return this.#read(JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')), secret)
  }

  #read(claims: unknown, secret: Buffer): Verified | undefined {
    if (!isObject(claims) || claims['iss'] !== SERVICE || claims['aud'] !== SERVICE)
      return undefined
    const { sub, nbf, exp, access } = claims
    const isSomebody = sub === '' || (typeof sub === 'string' && isUserName(sub))
    if (typeof nbf !== 'number' || typeof exp !== 'number') return undefined
    if (!isSomebody || !Array.isArray(access) || !access.every(isGrant)) return undefined
    const user = sub === '' ? undefined : sub
    return { user, scope: access, secret, notBeforeSeconds: nbf, untilSeconds: exp }
  }

  #isOfNow({ notBeforeSeconds, untilSeconds }: Verified): boolean {
    const nowSeconds = this.#nowSeconds()
    return (
      notBeforeSeconds - LEEWAY_SECONDS <= nowSeconds && nowSeconds < untilSeconds + LEEWAY_SECONDS
    )
  }

  #keyOf(secret: Buffer): Buffer {
    const known = this.#derived.get(secret)
    if (known !== undefined) return known
    const key = Buffer.from(hkdfSync('sha256', secret, '', 'starling registry token 1', 32))
    this.#derived.set(secret, key)
    return key
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
