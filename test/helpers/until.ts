import { setTimeout as delay } from 'node:timers/promises'

export interface UntilOptions {
  /** What is waited for, for the message when it does not come. */
  readonly what: string
  readonly timeoutMs: number
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
  const deadlineMs = performance.now() + options.timeoutMs
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
      const message = `waited ${options.timeoutMs} ms in vain for ${options.what}`
      throw new Error(message, { cause: last })
    }
    await delay(options.intervalMs ?? 50)
  }
}

/** Thrown inside {@link until} to end the wait at once: what is waited for cannot come any more. */
export class Fatal extends Error {
  override readonly name = 'Fatal'
}
