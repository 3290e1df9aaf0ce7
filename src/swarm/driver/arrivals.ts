import { withDeadline } from '../../deadline.ts'

/** A neighbour that was just met can be spoken to within a round trip or two. */
export const ARRIVAL_MS = 2_000

/** Lets who would ask the neighbours wait for those who are just coming. */
export class Arrivals {
  #next = Promise.withResolvers<void>()

  /** A neighbour can be spoken to, or none is waited for any more. */
  tell(): void {
    this.#next.resolve()
    this.#next = Promise.withResolvers()
  }

  /** Settles when nobody is expected any more, or after two seconds. */
  async settled(isExpected: () => boolean, signal: AbortSignal): Promise<void> {
    const over = withDeadline(ARRIVAL_MS, signal)
    const wake = () => this.tell()
    over.addEventListener('abort', wake, { once: true })
    while (isExpected() && !over.aborted) await this.#next.promise
    over.removeEventListener('abort', wake)
  }
}
