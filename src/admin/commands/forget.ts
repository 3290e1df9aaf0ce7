import type { ControlClient } from '../control-client.ts'
import type { ForgottenDocument } from '../operations.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface ForgetCommand {
  readonly client: ControlClient
  readonly screen: Screen
  /** Of a member. */
  readonly name: string
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Has the cluster forget a member that does not come back.
 *
 * @returns 0, or 1 when there is no such member or it is live
 * @throws `UNAVAILABLE` when no node answers
 */
export async function runForget(command: ForgetCommand): Promise<ExitCode> {
  const { client, screen, name, json, signal } = command
  const forgotten = await client.forget(name, signal)
  screen.write(`${json ? JSON.stringify({ name, ...forgotten }) : WORDS[forgotten.kind](name)}\n`)
  return forgotten.kind === 'forgotten' ? EXIT.done : EXIT.failed
}

const WORDS: Readonly<Record<ForgottenDocument['kind'], (name: string) => string>> = {
  forgotten: name => `${name} is forgotten; if it comes back, it keeps its blobs and joins anew`,
  live: name => `${name} is live and would be back at once: stop it first`,
  unknown: name => `this node knows no other member called ${name}`
}
