import type { FastifyReply, FastifyRequest } from 'fastify'
import { StarlingError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { Access, Wanted } from '../access.ts'
import { type Repository, tryRepository } from '../names.ts'
import { ROUTES } from '../path.ts'
import { auditOnClose } from './audit.ts'
import type { Guard, Verdict } from './guard.ts'
import { inScope, NOBODY, type Principal } from './principal.ts'

/** What needs no credentials whatever the policy: a probe, and where credentials are given. */
const FREE: ReadonlySet<string | undefined> = new Set([ROUTES.root, ROUTES.token])

interface Checked {
  readonly principal: Principal
  readonly wanted: Wanted
}

/** Lets the requests through that the guard grants, and writes down who changed what. */
export class GuardedAccess implements Access {
  readonly #guard: Guard
  readonly #log: Log
  readonly #checked = new WeakMap<FastifyRequest, Checked>()

  constructor(guard: Guard, log: Log) {
    this.#guard = guard
    this.#log = log
  }

  async check(request: FastifyRequest, reply: FastifyReply, wanted: Wanted): Promise<void> {
    if (FREE.has(request.routeOptions.url)) return
    const identified = this.#guard.identify(request.raw)
    const principal = identified instanceof Promise ? await identified : identified
    this.#checked.set(request, { principal: principal ?? NOBODY, wanted })
    auditOnClose(request, reply, principal, this.#log)
    admit(this.#decide(principal, wanted, request), reply, principal, wanted)
  }

  mayPull(request: FastifyRequest, repository: Repository): boolean {
    const { principal, wanted } = this.#of(request)
    // A token for the catalog is for no repository, and yet shows those that its bearer may read.
    const isNarrowed = wanted.kind !== 'catalog' && !inScope(principal, 'pull', repository)
    return !isNarrowed && this.#guard.may(principal, 'pull', repository)
  }

  mayPush(request: FastifyRequest, repository: Repository): boolean {
    const { principal } = this.#of(request)
    return inScope(principal, 'push', repository) && this.#guard.may(principal, 'push', repository)
  }

  principal(request: FastifyRequest): string {
    return this.#of(request).principal.user ?? ''
  }

  #decide(principal: Principal | undefined, wanted: Wanted, request: FastifyRequest): Verdict {
    switch (wanted.kind) {
      case 'catalog':
        return this.#guard.decideList(principal, request.raw)
      case 'repository':
        return this.#guard.decide(principal, wanted.action, wanted.repository, request.raw)
      case 'nothing':
        return request.routeOptions.url === ROUTES.version
          ? this.#guard.decidePing(principal, request.raw)
          : this.#guard.decideEntry(principal, request.raw)
    }
  }

  #of(request: FastifyRequest): Checked {
    return this.#checked.get(request) ?? { principal: NOBODY, wanted: { kind: 'nothing' } }
  }
}

/**
 * Throws what the client is to be told, unless it may go on.
 *
 * @param principal `undefined` when the credentials were wrong
 */
export function admit(
  verdict: Verdict,
  reply: FastifyReply,
  principal: Principal | undefined,
  wanted: Wanted
): void {
  switch (verdict.kind) {
    case 'granted':
      return
    case 'denied':
      // The same words for what exists and for what does not.
      throw new StarlingError('DENIED', whoMayNot(principal, wanted))
    case 'challenged':
      reply.header('www-authenticate', verdict.challenges)
      throw new StarlingError('UNAUTHORIZED', `credentials are needed ${lackOf(principal)}`)
  }
}

function whoMayNot(principal: Principal | undefined, wanted: Wanted): string {
  const who = `${principal?.user ?? 'an anonymous client'} may not`
  switch (wanted.kind) {
    case 'catalog':
      return `${who} list the repositories`
    case 'repository': {
      const name = tryRepository(wanted.repository) ?? 'a repository of this name'
      return `${who} ${DOING[wanted.action]} ${name}`
    }
    case 'nothing':
      return `${who} use this registry`
  }
}

const DOING = { pull: 'pull from', push: 'push to', delete: 'delete in' }

function lackOf(principal: Principal | undefined): string {
  if (principal === undefined) return 'and these are wrong'
  return principal.via === 'token' ? 'and this token is for something else' : 'and none were given'
}
