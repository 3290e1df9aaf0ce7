import type { Clock } from '../../clock.ts'
import { isCode } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { Event } from '../schedule/messages.ts'
import type { Part } from './part.ts'
import type { Parts } from './parts.ts'
import { suspect } from './suspicion.ts'
import type { Talk } from './talk.ts'

export interface CompletionOptions {
  readonly parts: Parts
  readonly talk: Talk
  readonly tell: (event: Event) => void
  /** A blob has become whole by pieces, this long after its first word, in milliseconds. */
  readonly onHeld: (part: Part, ms: number) => void
  readonly nameOf: (peer: string) => string
  readonly clock: Pick<Clock, 'monotonic'>
  readonly log: Log
}

/** Makes a blob of pieces that are all here, when they are its. */
export class Completion {
  readonly #options: CompletionOptions

  constructor(options: CompletionOptions) {
    this.#options = options
  }

  async complete(part: Part): Promise<void> {
    const { parts, clock, log, onHeld, nameOf } = this.#options
    const { source, name } = part
    if (part.state !== 'open' || source.kind !== 'file' || name === undefined) return
    part.state = 'verifying'
    try {
      const { sizeBytes } = await source.file.commit(name.digest)
      part.source = { kind: 'blob', digest: name.digest }
      if (isOver(part)) return
      part.state = 'whole'
      parts.touch(part)
      part.ended.resolve({ kind: 'held' })
      const ms = Math.round(clock.monotonic() - part.startedMs)
      const from = [...part.from].map(nameOf)
      log.info({ digest: name.digest, bytes: sizeBytes, ms, from }, 'blob fetched in pieces')
      this.#convict(part)
      onHeld(part, ms)
    } catch (error) {
      if (isOver(part)) return
      if (isCode(error, 'DIGEST_INVALID')) this.#doubt(part)
      else parts.end(part, { kind: 'failed', error })
    }
  }

  /** Without the pieces of the suspect it was the blob. */
  #convict(part: Part): void {
    const liar = part.suspects.at(-1)
    if (liar !== undefined) this.#blame(part, liar)
  }

  #blame(part: Part, liar: string): void {
    const { tell, nameOf, log } = this.#options
    tell({ kind: 'lied', peer: liar })
    const fields = { digest: part.name?.digest, peer: liar, name: nameOf(liar) }
    log.warn(fields, 'peer gave wrong pieces by a wrong list, and is put aside')
  }

  /** Nobody contradicts the list. Who says that it holds the blob looks at its disk, for rot. */
  #blameSole(part: Part): void {
    const sole = soleHolder(part)
    if (sole === undefined) return
    this.#options.talk.complain(sole, part.key, 0)
    this.#blame(part, sole)
  }

  #doubt(part: Part): void {
    const { parts, talk, tell, log } = this.#options
    const { source, key: blob } = part
    const verdict = suspect(part)
    if (verdict === undefined || source.kind !== 'file') {
      log.warn({ digest: part.name?.digest, from: [...part.from] }, 'pieces do not make the blob')
      this.#blameSole(part)
      parts.end(part, { kind: 'given-up', why: 'wrong' })
      return
    }
    part.state = 'open'
    part.suspects = [...part.suspects, verdict.suspect]
    part.refused = new Map(
      verdict.pieces.map(piece => [piece, Buffer.from(part.claims.heldHash(piece) ?? [])])
    )
    for (const piece of verdict.pieces) {
      // A disk that fails at that fails at the next piece too, which is heeded.
      void source.file.drop(piece).catch(() => undefined)
      part.claims.release(piece)
    }
    tell({ kind: 'leave', peer: verdict.suspect, blob })
    tell({ kind: 'lost', blob, pieces: verdict.pieces })
    if (verdict.cleared !== undefined) talk.askAgain(verdict.cleared, part)
  }
}

/** Who alone gave all of it, and had not just got it from others. */
function soleHolder({ from, holders, isResumed }: Part): string | undefined {
  const [sole, ...others] = from
  if (sole === undefined || others.length > 0 || isResumed) return undefined
  return holders.has(sole) ? sole : undefined
}

/** It may end at any wait, which the compiler does not see. */
function isOver({ state }: Part): boolean {
  return state === 'over'
}
