import { setTimeout as delay } from 'node:timers/promises'
import { type Clock, systemClock } from '../../clock.ts'
import type { AdminClient } from '../client.ts'
import { renderStatus } from '../render.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface StatusCommand {
  readonly client: AdminClient
  readonly screen: Screen
  /** Again and again, until the signal. */
  readonly watch: boolean
  /** One JSON object on a line instead of a table. */
  readonly json: boolean
  readonly clock?: Clock
  readonly signal: AbortSignal
}

const WATCH_INTERVAL_MS = 1_000

/** As many images as a person scrolls through. */
const IMAGES_SHOWN = 100

/** Home, and clear what is below: a redraw without the flicker of an emptied screen. */
const REDRAW = '\x1b[H\x1b[J'

/** Prints the status of a node. Throws `UNAVAILABLE` when there is none. */
export async function runStatus(command: StatusCommand): Promise<ExitCode> {
  const { client, screen, watch, json, signal, clock = systemClock } = command
  for (;;) {
    const status = await client.status({ limit: IMAGES_SHOWN }, signal).catch((error: unknown) => {
      if (watch && signal.aborted) return undefined
      throw error
    })
    if (status === undefined) return EXIT.done
    const text = json ? JSON.stringify(status) : renderStatus(status)
    screen.write(`${watch && !json ? startOfTurn(screen, clock) : ''}${text}\n`)
    if (!watch) return EXIT.done
    await delay(WATCH_INTERVAL_MS, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return EXIT.done
  }
}

/** On a terminal each status is drawn over the last; elsewhere, as in a file, it is told when it was. */
function startOfTurn(screen: Screen, clock: Clock): string {
  return screen.isTTY === true ? REDRAW : `\n--- ${new Date(clock.now()).toISOString()}\n`
}
