import type { IncomingMessage } from 'node:http'
import { type Clock, systemClock } from '../../clock.ts'
import type { Log } from '../../log.ts'
import { tryRepository } from '../names.ts'
import { type Credentials, parseAuthorization } from './authorization.ts'
import { BcryptThread, type PasswordCheck } from './bcrypt.ts'
import { userOfCertificate } from './certificate.ts'
import { type Challenge, challengeHeaders } from './challenge.ts'
import { Passwords } from './passwords.ts'
import { allows, allowsEverywhere } from './policy.ts'
import { PolicyFile } from './policy-source.ts'
import { type Action, catalogInScope, inScope, NOBODY, type Principal } from './principal.ts'
import { Tokens } from './tokens.ts'

/** What clients may do that do not log in: nothing, read, or all there is. */
export type Anonymous = 'none' | 'pull' | 'push'

export interface GuardOptions {
  /** A file of users; without it nobody can log in with a password. */
  readonly htpasswd?: string | undefined
  /** How long a password that was replaced in the file still works; not at all if not given. */
  readonly graceMs?: number | undefined
  /** A file of rules; without it everyone who is let in may do all. */
  readonly policy?: string | undefined
  /** `push` if not given and nobody could log in, else `none`. */
  readonly anonymous?: Anonymous | undefined
  /** Whether client certificates are asked for, whose common names are users. */
  readonly certificates?: boolean
  /** How clients see the registry, when a proxy stands between. */
  readonly publicUrl?: URL | undefined
  /** Secrets that all nodes have, to sign tokens with. */
  readonly clusterKeys: () => readonly Buffer[]
  readonly log: Log
  readonly clock?: Clock
  readonly check?: PasswordCheck
}

/** What comes of a request: it may go on, or why not. */
export type Verdict =
  | { readonly kind: 'granted' }
  /** 403: to log in, or to log in again, would not help. */
  | { readonly kind: 'denied' }
  /** 401, with the `WWW-Authenticate` fields. */
  | { readonly kind: 'challenged'; readonly challenges: readonly string[] }

/** Decides who may do what: users and their passwords, rules, tokens, and who does not log in. */
export class Guard {
  readonly tokens: Tokens
  readonly anonymous: Anonymous
  readonly #options: GuardOptions
  readonly #passwords: Passwords | undefined
  readonly #policy: PolicyFile

  /** Throws `CONFIG_INVALID` when a file cannot be read or has something wrong in it. */
  static async open(options: GuardOptions): Promise<Guard> {
    const { htpasswd, graceMs = 0, log, clock = systemClock } = options
    const policy = await PolicyFile.open(options.policy, log)
    if (htpasswd === undefined) return new Guard(options, undefined, policy)
    try {
      const check = options.check ?? new BcryptThread()
      const passwords = await Passwords.open({ file: htpasswd, graceMs, check, clock, log })
      return new Guard(options, passwords, policy)
    } catch (error) {
      policy.close()
      throw error
    }
  }

  private constructor(options: GuardOptions, passwords: Passwords | undefined, policy: PolicyFile) {
    const canLogIn = passwords !== undefined || options.certificates === true
    this.#options = options
    this.#passwords = passwords
    this.#policy = policy
    this.anonymous = options.anonymous ?? (canLogIn ? 'none' : 'push')
    const { clusterKeys, clock = systemClock } = options
    this.tokens = new Tokens({ clusterKeys, clock })
  }

  /** Whether there are users with passwords, so that it is of use to ask for one. */
  get hasUsers(): boolean {
    return this.#passwords !== undefined
  }

  /** Whether a stranger may push something somewhere. */
  get isOpen(): boolean {
    return (
      this.anonymous === 'push' &&
      this.#policy.current.rules.some(({ allowed }) =>
        [...allowed.push, ...allowed.delete].some(({ kind }) => kind === 'everyone')
      )
    )
  }

  /**
   * Finds out who sent a request. Where nobody has a password, one that is sent all the same (as
   * kubelet does with a pull secret of former times) is passed over.
   *
   * @returns `undefined` when credentials are wrong
   */
  identify(request: IncomingMessage): Principal | undefined | Promise<Principal | undefined> {
    if (this.#passwords === undefined && this.#options.certificates !== true) return NOBODY
    const credentials = parseAuthorization(request.headers.authorization)
    if (credentials.kind !== 'none') return this.identifyBy(credentials, addressOf(request))
    const user = this.#options.certificates ? userOfCertificate(request.socket) : undefined
    return user === undefined ? NOBODY : { user, via: 'certificate' }
  }

  /** As {@link identify}, by credentials that came some other way. */
  identifyBy(
    credentials: Credentials,
    address: string
  ): Principal | undefined | Promise<Principal | undefined> {
    switch (credentials.kind) {
      case 'none':
        return NOBODY
      case 'unreadable':
        return undefined
      case 'token':
        return this.#identifyToken(credentials.token)
      case 'password': {
        const { user, password } = credentials
        const isRight = this.#passwords?.verify(user, password, address)
        const principal = { user, via: 'password' } as const
        if (typeof isRight === 'boolean') return isRight ? principal : undefined
        return isRight?.then(right => {
          if (right) return principal
          this.#options.log.warn({ user, from: address }, 'log-in refused')
          return undefined
        })
      }
    }
  }

  /** Whether the rules let somebody do something, whatever a token narrows it to. */
  may(principal: Principal, action: Action, repository: string): boolean {
    return (
      this.#letsIn(principal, action) &&
      allows(this.#policy.current, principal.user, action, repository)
    )
  }

  /** As {@link may}, for every repository there could be. */
  mayEverywhere(principal: Principal, action: Action): boolean {
    return (
      this.#letsIn(principal, action) &&
      principal.scope === undefined &&
      allowsEverywhere(this.#policy.current, principal.user, action)
    )
  }

  /** What comes of a request to do something in a repository. */
  decide(
    principal: Principal | undefined,
    action: Action,
    repository: string,
    request: IncomingMessage
  ): Verdict {
    const isAllowed = principal !== undefined && this.may(principal, action, repository)
    if (isAllowed && inScope(principal, action, repository)) return GRANTED
    const known = tryRepository(repository)
    const wanted = action === 'push' ? 'pull,push' : action
    const scope = known === undefined ? {} : { scope: `repository:${known}:${wanted}` }
    return this.#refuse(principal, isAllowed, scope, request)
  }

  /** What comes of a request to list repositories. */
  decideList(principal: Principal | undefined, request: IncomingMessage): Verdict {
    const mayList = principal !== undefined && this.mayList(principal)
    if (mayList && catalogInScope(principal)) return GRANTED
    return this.#refuse(principal, mayList, { scope: 'registry:catalog:*' }, request)
  }

  /** Who may read anything may list; the list has only what they may read. */
  mayList(principal: Principal): boolean {
    return this.#letsIn(principal, 'pull')
  }

  /** What comes of a request that is about no repository. */
  decideEntry(principal: Principal | undefined, request: IncomingMessage): Verdict {
    if (principal !== undefined && this.#letsIn(principal, 'pull')) return GRANTED
    return this.#refuse(principal, false, {}, request)
  }

  /**
   * What comes of the ping with which docker, podman and crane find out how to log in. Where some
   * things need a password and some do not, they have to be asked here, or they never would send
   * one; and by a token, which they can have without a password too.
   */
  decidePing(principal: Principal | undefined, request: IncomingMessage): Verdict {
    const entry = this.decideEntry(principal, request)
    if (entry.kind !== 'granted' || principal?.via !== 'nothing' || !this.hasUsers) return entry
    if (this.mayEverywhere(principal, 'push') && this.mayEverywhere(principal, 'delete'))
      return entry
    const challenges = this.#challenges({ schemes: ['bearer'] }, request)
    return challenges.length === 0 ? entry : { kind: 'challenged', challenges }
  }

  /** What comes of a request for a token, which could only be answered with a password. */
  decideToken(principal: Principal | undefined, request: IncomingMessage): Verdict {
    const entry = this.decideEntry(principal, request)
    if (entry.kind !== 'challenged') return entry
    return { kind: 'challenged', challenges: this.#challenges({ schemes: ['basic'] }, request) }
  }

  /**
   * What comes of a request to look at the node itself. With users there are, one has to log in who
   * may pull everything, for all names are to be seen there.
   */
  async decideAdmin(request: IncomingMessage): Promise<Verdict> {
    if (!this.hasUsers) return GRANTED
    const principal = await this.identify(request)
    if (principal?.user === undefined) {
      return { kind: 'challenged', challenges: this.#challenges({ schemes: ['basic'] }, request) }
    }
    return this.mayEverywhere(principal, 'pull') ? GRANTED : { kind: 'denied' }
  }

  async close(): Promise<void> {
    this.#policy.close()
    await this.#passwords?.close()
  }

  /** Reads its files again. They are watched, so this is only for who cannot wait. */
  async reload(): Promise<void> {
    await Promise.all([this.#policy.reload(), this.#passwords?.reload()])
  }

  /** A token is good for as long as its user is one. */
  #identifyToken(token: string): Principal | undefined {
    const claims = this.tokens.verify(token)
    if (claims === undefined) return undefined
    const { user, scope } = claims
    const isKnown =
      user === undefined || this.#options.certificates === true || this.#passwords?.has(user)
    return isKnown ? { user, via: 'token', scope } : undefined
  }

  /** The anonymous switch stands before the rules: both have to let a stranger in. */
  #letsIn({ user }: Principal, action: Action): boolean {
    return user !== undefined || this.anonymous === 'push' || this.anonymous === action
  }

  /**
   * 401 is for those whom other credentials would help: who sent none, or wrong ones, or a token for
   * something else. Who is known and may not gets 403: docker would ask for the password for ever.
   */
  #refuse(
    principal: Principal | undefined,
    isAllowed: boolean,
    scope: { readonly scope?: string },
    request: IncomingMessage
  ): Verdict {
    if (!this.hasUsers) return { kind: 'denied' }
    const both = { schemes: ['basic', 'bearer'], ...scope } as const
    const [wrong, narrow] = ['invalid_token', 'insufficient_scope'] as const
    if (principal === undefined) {
      const isToken = /^bearer /i.test(request.headers.authorization ?? '')
      const error = isToken ? { error: wrong } : {}
      return { kind: 'challenged', challenges: this.#challenges({ ...both, ...error }, request) }
    }
    if (principal.via === 'nothing') {
      return { kind: 'challenged', challenges: this.#challenges(both, request) }
    }
    const anotherTokenHelps =
      principal.via === 'token' && (isAllowed || principal.user === undefined)
    if (!anotherTokenHelps) return { kind: 'denied' }
    return {
      kind: 'challenged',
      challenges: this.#challenges({ ...both, error: narrow }, request)
    }
  }

  #challenges(challenge: Challenge, request: IncomingMessage): readonly string[] {
    return challengeHeaders(challenge, request, this.#options.publicUrl)
  }
}

/** Who is at the other end of the connection; what a header says of it is never believed. */
export function addressOf(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? 'unknown'
}

const GRANTED: Verdict = { kind: 'granted' }
