import { setTimeout as delay } from 'node:timers/promises'

/**
 * How long a test waits for what must come. A wait ends as soon as it has come, so that only a fault
 * takes this long, on a machine that is ten times slower than ours, too.
 */
export const PATIENCE_MS = 120_000

export interface UntilOptions {
  /** What is waited for, for the message when it does not come. */
  readonly what: string
  /** {@link PATIENCE_MS} if not given. */
  readonly timeoutMs?: number
  readonly intervalMs?: number
}

/**
 * Asks until the answer is neither `undefined` nor `false`, and gives it. Only for what another
 * process does, where there is no event to await. An error thrown by `ask` counts as "not yet" and
 * is the cause of the error thrown at the time limit.
 */
export async function until<T>(
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  options: UntilOptions
): Promise<T> {
  const { what, timeoutMs = PATIENCE_MS, intervalMs = 50 } = options
  const deadlineMs = performance.now() + timeoutMs
  let last: unknown
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== undefined && answer !== false) return answer
      last = undefined
    } catch (error) {
      if (error instanceof Fatal) throw error
      last = error
    }
    if (performance.now() >= deadlineMs) {
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}`, { cause: last })
    }
    await delay(intervalMs)
  }
}

/** Thrown inside {@link until} to end the wait at once: what is waited for cannot come any more. */
export class Fatal extends Error {
  override readonly name = 'Fatal'
}
