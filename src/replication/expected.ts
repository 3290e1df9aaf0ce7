import { Cache } from '../cache.ts'
import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'

/** A client that asks for a blob and is told to push it does so at once, a few at a time. */
const EXPECTED_MS = 60_000

/** Repositories with such questions; more than a node is pushed to within a minute. */
const MAX_REPOSITORIES = 1_000

/** Questions kept of one repository: more than an image has layers. */
const MAX_BLOBS = 1_000

interface Question {
  readonly sizeBytes: number
  readonly askedMs: number
}

/** How far a push has come, and where its client says that it will end. */
interface Growth {
  readonly writtenBytes: number
  readonly declaredBytes?: number
}

/**
 * Blobs that are held here and that pushers were told their repository lacks, as it is when an image
 * is pushed under a second name. Most clients say what they push only at its end; what comes after
 * such a question is likely that blob, which every node has: it is not passed on while it comes.
 */
export class Expected {
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #asked = new Cache<string, Map<Digest, Question>>(MAX_REPOSITORIES, () => 1)

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock
  }

  /** A pusher was told that a repository lacks a blob that is held here. */
  note(repository: string, digest: Digest, sizeBytes: number): void {
    const questions = this.#asked.get(repository) ?? new Map<Digest, Question>()
    questions.delete(digest)
    questions.set(digest, { sizeBytes, askedMs: this.#clock.monotonic() })
    const [oldest] = questions.keys()
    if (questions.size > MAX_BLOBS && oldest !== undefined) questions.delete(oldest)
    this.#asked.set(repository, questions)
  }

  /** Whether a push to a repository may turn out to be such a blob. */
  mayBe(repository: string, { writtenBytes, declaredBytes }: Growth): boolean {
    const oldestMs = this.#clock.monotonic() - EXPECTED_MS
    const questions = this.#asked.get(repository)?.values() ?? []
    return questions.some(
      ({ sizeBytes, askedMs }) =>
        askedMs >= oldestMs &&
        sizeBytes >= writtenBytes &&
        (declaredBytes === undefined || declaredBytes === sizeBytes)
    )
  }
}
