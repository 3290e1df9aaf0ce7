import type { AdminClient } from '../client.ts'
import { renderChange } from '../render-change.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface EventsCommand {
  readonly client: AdminClient
  readonly screen: Screen
  /** Go on with what happens from now on. */
  readonly follow: boolean
  /** Each line that the node tells, as it is. */
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Prints what a node has heard of, oldest first: tags, manifests and members.
 *
 * @returns 0 when asked to stop
 * @throws `UNAVAILABLE` when no node answers, or it stops
 */
export async function runEvents(command: EventsCommand): Promise<ExitCode> {
  const { client, screen, follow, json, signal } = command
  try {
    for await (const happening of client.events(follow, signal)) {
      const text = json ? JSON.stringify(happening) : `${happening.at}  ${renderChange(happening)}`
      screen.write(`${text}\n`)
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return EXIT.done
}
