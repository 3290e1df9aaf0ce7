import { setTimeout as delay } from 'node:timers/promises'
import { withDeadline } from '../../deadline.ts'
import type { AdminClient } from '../client.ts'
import type { ImageReference } from '../introspection.ts'
import { renderCopies } from '../render.ts'
import type { CopiesDocument } from '../status.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface WaitCommand {
  readonly client: AdminClient
  readonly screen: Screen
  readonly reference: ImageReference
  /** How many nodes shall hold the image; `all` is every member not gone, so none may be away. */
  readonly nodes: number | 'all'
  readonly timeoutMs: number
  readonly json: boolean
  readonly signal: AbortSignal
}

/** Short beside what a copy takes, long beside what an answer costs. */
const POLL_INTERVAL_MS = 250

/**
 * Waits until enough nodes hold an image, which need not be known yet.
 *
 * @returns 0 when reached, 1 when the time is over first
 * @throws `UNAVAILABLE` when no node answers
 */
export async function runWait(command: WaitCommand): Promise<ExitCode> {
  const { client, reference, timeoutMs } = command
  const signal = withDeadline(timeoutMs, command.signal)
  const progress = openProgress(command)
  for (;;) {
    const copies = await client.copies(reference, command.signal)
    const reached = isReached(copies, command.nodes)
    if (reached || signal.aborted) {
      progress.end(copies, reached)
      return reached ? EXIT.done : EXIT.failed
    }
    progress.show(copies)
    await delay(POLL_INTERVAL_MS, undefined, { signal }).catch(() => undefined)
  }
}

function isReached({ digest, nodes }: CopiesDocument, wanted: number | 'all'): boolean {
  const copies = nodes.filter(node => node.state === 'live' && node.holds === true).length
  return digest !== null && copies >= (wanted === 'all' ? nodes.length : wanted)
}

interface Progress {
  show(copies: CopiesDocument): void
  end(copies: CopiesDocument, reached: boolean): void
}

/** One line that is drawn over on a terminal; elsewhere only the outcome. */
function openProgress({ screen, json, nodes }: WaitCommand): Progress {
  const overwrites = screen.isTTY === true && !json
  const start = overwrites ? '\r\x1b[K' : ''
  return {
    show: copies => {
      if (overwrites) screen.write(`${start}${renderCopies(copies)}`)
    },
    end: (copies, reached) => {
      const text = json ? JSON.stringify({ ...copies, reached }) : renderCopies(copies)
      // Otherwise "3 of 3 nodes" looks like success where there are fewer nodes than asked for.
      const isShort = !json && !reached && copies.digest !== null && nodes !== 'all'
      screen.write(`${start}${text}${isShort ? `; ${nodes} asked for` : ''}\n`)
    }
  }
}
