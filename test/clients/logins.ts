import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import type { ClusterOptions } from '../helpers/cluster.ts'

/** A user and a password. */
export interface Login {
  readonly user: string
  readonly password: string
}

/** May do everything. */
export const PUSHER: Login = { user: 'zarf-push', password: 'pushes, and has a : in it' }
/** May pull everything. */
export const PULLER: Login = { user: 'zarf-pull', password: 'pulls' }

/** What Zarf writes. */
const BCRYPT_COST = 10
const RULES = `
repositories:
  '**': { pull: [group:users], push: [${PUSHER.user}], delete: [${PUSHER.user}] }
`

/** How to start nodes that know the two users above; their files go into the directory. */
export async function withUsers(directory: string): Promise<ClusterOptions> {
  const [users, rules] = [join(directory, 'htpasswd'), join(directory, 'policy.yaml')]
  const lines = [PUSHER, PULLER].map(
    ({ user, password }) => `${user}:${hashSync(password, BCRYPT_COST)}`
  )
  // Zarf's chart writes it with these two characters between the lines.
  await writeFile(users, lines.join('\\n'))
  await writeFile(rules, RULES)
  const authorization = `Basic ${Buffer.from(credentials(PULLER)).toString('base64')}`
  return { flags: ['--htpasswd', users, '--policy', rules], authorization }
}

export function credentials({ user, password }: Login): string {
  return `${user}:${password}`
}
