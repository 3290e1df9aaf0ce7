import { StarlingError } from '../../errors.ts'
import { isUserName } from './principal.ts'

/** The bcrypt hashes of each user; a user with several lines has as many passwords, for a rotation. */
export type Htpasswd = ReadonlyMap<string, readonly string[]>

/** Bounds what a wrong password can cost, and the file. */
const MAX_USERS = 10_000
const MAX_PASSWORDS_PER_USER = 4

/** One step more doubles the time of each check, which at 14 is more than a second. */
const MAX_COST = 14

/** Of a file that is none of users at all, every line is wrong. */
const MAX_NAMED_PROBLEMS = 10

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/

/**
 * Reads an htpasswd file of bcrypt hashes. Lines end with a newline or with the two characters
 * `\n`, which is what a newline becomes in a quoted YAML value (Zarf's chart writes it so). Empty
 * lines and those that start with "#" are skipped.
 *
 * @throws `CONFIG_INVALID` naming each wrong line by its number, never by what is in it
 */
export function parseHtpasswd(text: string): Htpasswd {
  const users = new Map<string, string[]>()
  const problems: string[] = []
  for (const [index, untrimmed] of text.split(/\r?\n|\\n/).entries()) {
    const line = untrimmed.trim()
    if (line === '' || line.startsWith('#')) continue
    const problem = readLine(line, users)
    if (problem !== undefined) problems.push(`line ${index + 1}: ${problem}`)
  }
  if (users.size > MAX_USERS) problems.push(`there are more than ${MAX_USERS} users`)
  if (problems.length === 0) return users
  const more = problems.length - MAX_NAMED_PROBLEMS
  const named = problems.slice(0, MAX_NAMED_PROBLEMS)
  const message = [...named, ...(more > 0 ? [`and ${more} more`] : [])].join('\n')
  throw new StarlingError('CONFIG_INVALID', message, { detail: problems })
}

/** Adds the line's user and hash, or says what is wrong with it. */
function readLine(line: string, users: Map<string, string[]>): string | undefined {
  const colonAt = line.indexOf(':')
  const [user, hash] = [line.slice(0, Math.max(0, colonAt)), line.slice(colonAt + 1)]
  if (!isUserName(user)) return 'expected user:hash'
  const cost = Number(BCRYPT.exec(hash)?.[1])
  if (!(cost >= 4 && cost <= MAX_COST)) {
    return `expected a bcrypt hash ($2a$, $2b$ or $2y$) of cost 4 to ${MAX_COST}`
  }
  const hashes = users.get(user) ?? []
  if (hashes.length === MAX_PASSWORDS_PER_USER) {
    return `expected at most ${MAX_PASSWORDS_PER_USER} passwords for one user`
  }
  users.set(user, [...hashes, hash])
  return undefined
}
