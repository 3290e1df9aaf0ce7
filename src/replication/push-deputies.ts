import type { RelayedRequest, StreamedAnswer } from '../swarm/relay.ts'
import { Deputies, type DeputiesOptions } from './deputies.ts'
import type { Room } from './room.ts'

/** The nodes that take pushes which this one has no room for. */
export class PushDeputies {
  readonly #deputies: Deputies
  readonly #room: Pick<Room, 'isBetterElsewhere'>

  constructor(
    options: Omit<DeputiesOptions, 'prefer'> & { room: Pick<Room, 'isBetterElsewhere'> }
  ) {
    this.#deputies = new Deputies({ ...options, prefer: 'roomiest' })
    this.#room = options.room
  }

  /** Whether one of them should take a push, of so many bytes where that is known. */
  isBetter(bytes: number | undefined): boolean {
    return this.#room.isBetterElsewhere(bytes)
  }

  /** As {@link Deputies.answer}. */
  answer(request: RelayedRequest, signal: AbortSignal): Promise<StreamedAnswer> {
    return this.#deputies.answer(request, signal)
  }
}
