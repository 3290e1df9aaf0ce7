import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, tryDigest } from '../digest.ts'
import { systemCode } from '../errors.ts'
import type { Log } from '../log.ts'

/** More images than an outage is likely to see; the metric of under-replicated ones counts all. */
const MAX_OWED = 10_000
/** As many as one push may set; the rest is only not named. */
const MAX_TAGS = 100
/** Before the file is written anew: some 2 MiB, in which most images have been redeemed. */
const MAX_LINES = 2 * MAX_OWED

export interface PushedImage {
  readonly repository: string
  /** None for a push by digest. */
  readonly tags: readonly string[]
  readonly digest: Digest
}

/**
 * The images that were acknowledged with fewer copies than asked for, and may still lack some. Kept
 * in a file beside the data, so that a restart does not forget them. Nothing is lost with it but the
 * order in which images are repaired, so it is not synced.
 */
export class Owed {
  readonly #path: string
  readonly #log: Log
  readonly #images = new Map<string, PushedImage>()
  #lines = 0
  #work: Promise<void> = Promise.resolve()

  static async open({ dataDir, log }: { dataDir: string; log: Log }): Promise<Owed> {
    const owed = new Owed(join(dataDir, 'owed.jsonl'), log)
    await owed.#load()
    return owed
  }

  private constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
  }

  get size(): number {
    return this.#images.size
  }

  /** Oldest first. */
  images(): readonly PushedImage[] {
    return [...this.#images.values()]
  }

  /** Above a limit images are not noted; they are copied all the same. */
  add(image: PushedImage): void {
    if (!this.#note(image)) return
    this.#lines += 1
    if (this.#lines > MAX_LINES) this.#compact()
    else this.#write(() => appendFile(this.#path, lineOf(image)))
  }

  /** The image has its copies now, or is deleted. */
  redeem(image: PushedImage): void {
    if (!this.#images.delete(keyOf(image)) || this.#images.size > 0) return
    // Until the last of them is gone, those redeemed are found so once more after a restart.
    this.#compact()
  }

  async close(): Promise<void> {
    await this.#work
  }

  /** Whether that is news. */
  #note(image: PushedImage): boolean {
    const key = keyOf(image)
    const before = this.#images.get(key)
    if (before === undefined && this.#images.size >= MAX_OWED) return false
    const tags = [...new Set([...(before?.tags ?? []), ...image.tags])].slice(0, MAX_TAGS)
    if (tags.length === before?.tags.length) return false
    this.#images.set(key, { ...image, tags })
    return true
  }

  async #load(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') this.#log.warn({ err: error }, 'list of owed copies lost')
      return ''
    })
    if (text === '') return
    for (const line of text.split('\n')) {
      const image = parse(line)
      if (image !== undefined) this.#note(image)
    }
    // Also so that what is added does not go on a line that was cut off.
    this.#compact()
  }

  /** Writes each image once. */
  #compact(): void {
    const images = this.images()
    this.#lines = images.length
    this.#write(() => writeFile(this.#path, images.map(lineOf).join('')))
  }

  #write(change: () => Promise<void>): void {
    this.#work = this.#work.then(change).catch(error => {
      this.#log.warn({ err: error }, 'list of owed copies not written')
    })
  }
}

function lineOf(image: PushedImage): string {
  return `${JSON.stringify(image)}\n`
}

function keyOf({ repository, digest }: PushedImage): string {
  return `${repository}@${digest}`
}

/** `undefined` for a line that was cut off, or is none of ours. */
function parse(line: string): PushedImage | undefined {
  try {
    const { repository, tags, digest } = JSON.parse(line) as Readonly<Record<string, unknown>>
    const parsed = tryDigest(String(digest))
    if (typeof repository !== 'string' || !Array.isArray(tags) || parsed === undefined) return
    return { repository, tags: tags.map(String), digest: parsed }
  } catch {
    return undefined
  }
}
