import { parentPort } from 'node:worker_threads'
import { compareSync } from 'bcryptjs'

/** The other end of `bcrypt.ts`: checks one password after the other, on a thread of its own. */

export interface BcryptJob {
  readonly id: number
  readonly password: string
  readonly hash: string
}

export interface BcryptResult {
  readonly id: number
  readonly matches: boolean
}

parentPort?.on('message', ({ id, password, hash }: BcryptJob) => {
  const result: BcryptResult = { id, matches: compareSync(password, hash) }
  parentPort?.postMessage(result)
})
