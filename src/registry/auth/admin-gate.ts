import type { IncomingMessage } from 'node:http'
import { isCode } from '../../errors.ts'
import type { Guard } from './guard.ts'

/** Why the admin port stays shut for somebody, in terms of HTTP. */
export interface AdminRefusal {
  readonly status: 401 | 403 | 503
  readonly message: string
  readonly challenges: readonly string[]
}

/** The gate of the admin port, which has the same users as the registry. */
export function adminGate(
  guard: Guard
): (request: IncomingMessage) => Promise<AdminRefusal | undefined> {
  return async request => {
    try {
      const verdict = await guard.decideAdmin(request)
      if (verdict.kind === 'granted') return undefined
      return verdict.kind === 'challenged'
        ? { status: 401, message: 'credentials are needed', challenges: verdict.challenges }
        : { status: 403, message: 'this needs the right to pull everything', challenges: [] }
    } catch (error) {
      if (!isCode(error, 'UNAVAILABLE')) throw error
      return { status: 503, message: error.message, challenges: [] }
    }
  }
}
