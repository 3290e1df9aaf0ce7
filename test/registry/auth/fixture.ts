import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { compareSync, hashSync } from 'bcryptjs'
import { pino } from 'pino'
import type { Clock } from '../../../src/clock.ts'
import type { Log } from '../../../src/log.ts'
import type { PasswordCheck } from '../../../src/registry/auth/bcrypt.ts'
import { Guard, type GuardOptions } from '../../../src/registry/auth/guard.ts'
import { GuardedAccess } from '../../../src/registry/auth/guarded-access.ts'
import { tokenRoutes } from '../../../src/registry/auth/token-route.ts'
import { openRegistry, type Registry } from '../fixture.ts'

/** The least that bcrypt takes: these tests are not about how hard it is. */
const COST = 4

export const CLUSTER_KEY = Buffer.alloc(32, 'cluster')

/** Users and their passwords, as lines of an htpasswd file. */
export function htpasswd(users: Readonly<Record<string, string>>): string {
  return Object.entries(users)
    .map(([user, password]) => `${user}:${hashSync(password, COST)}\n`)
    .join('')
}

export function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

export function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` }
}

/** bcrypt that can be counted and held up. */
export class CountedCheck implements PasswordCheck {
  count = 0
  hold: Promise<void> = Promise.resolve()

  async verify(password: string, hash: string): Promise<boolean> {
    this.count += 1
    await this.hold
    return compareSync(password, hash)
  }

  async close(): Promise<void> {}
}

/** Time that a test moves on. */
export class ManualClock implements Clock {
  ms = 1_800_000_000_000
  now = (): number => this.ms
  monotonic = (): number => this.ms
}

/** A log whose lines a test reads. */
export function recordingLog(): { readonly log: Log; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(JSON.parse(String(chunk)))
      done()
    }
  })
  return { log: pino({ level: 'debug' }, sink), lines }
}

/** A temporary file, and how to write it anew. */
export async function temporaryFile(
  t: TestContext,
  text: string
): Promise<{ readonly path: string; write(text: string): Promise<void> }> {
  const directory = await mkdtemp(join(tmpdir(), 'starling-auth-'))
  t.after(() => rm(directory, { recursive: true }))
  const path = join(directory, 'file')
  await writeFile(path, text)
  return { path, write: text => writeFile(path, text) }
}

export interface Guarded extends Registry {
  readonly guard: Guard
  readonly check: CountedCheck
  readonly clock: ManualClock
  readonly lines: Record<string, unknown>[]
  /** Puts other users and rules in place and has them read. */
  change(to: { readonly users?: string; readonly policy?: string }): Promise<void>
  get(path: string, headers?: Record<string, string>): Promise<Response>
  token(query: string, headers?: Record<string, string>): Promise<string>
}

export interface GuardedOptions extends Partial<GuardOptions> {
  readonly users?: string
  readonly rules?: string
}

/** A registry over memory with a guard before it; closed when the test ends. */
export async function openGuarded(t: TestContext, given: GuardedOptions = {}): Promise<Guarded> {
  const { users, rules, ...options } = given
  const htpasswdFile = users === undefined ? undefined : await temporaryFile(t, users)
  const policyFile = rules === undefined ? undefined : await temporaryFile(t, rules)
  const [check, clock, { log, lines }] = [new CountedCheck(), new ManualClock(), recordingLog()]
  const guard = await Guard.open({
    htpasswd: htpasswdFile?.path,
    policy: policyFile?.path,
    clusterKeys: () => [CLUSTER_KEY],
    ...{ check, clock, log },
    ...options
  })
  t.after(() => guard.close())
  const access = new GuardedAccess(guard, log)
  const registry = await openRegistry(t, { access, otherRoutes: tokenRoutes(guard), log })
  return {
    ...registry,
    ...{ guard, check, clock, lines },
    change: async to => {
      if (to.users !== undefined) await htpasswdFile?.write(to.users)
      if (to.policy !== undefined) await policyFile?.write(to.policy)
      await guard.reload()
    },
    get: (path, headers = {}) => fetch(registry.url + path, { headers }),
    token: async (query, headers = {}) => {
      const response = await fetch(`${registry.url}/token${query}`, { headers })
      const { token } = (await response.json()) as { token: string }
      return token
    }
  }
}
