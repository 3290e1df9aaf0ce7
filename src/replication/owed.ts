import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, tryDigest } from '../digest.ts'
import { systemCode } from '../errors.ts'
import type { Log } from '../log.ts'

/** More images than an outage is likely to see; the metric of under-replicated ones counts all. */
const MAX_OWED = 10_000

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
    if (this.#images.size >= MAX_OWED) return
    this.#note(image)
    this.#write(() => appendFile(this.#path, `${JSON.stringify(image)}\n`))
  }

  /** The image has its copies now, or is deleted. */
  redeem(image: PushedImage): void {
    if (!this.#images.delete(keyOf(image)) || this.#images.size > 0) return
    // Until the last of them is gone, those redeemed are found so once more after a restart.
    this.#write(() => writeFile(this.#path, ''))
  }

  async close(): Promise<void> {
    await this.#work
  }

  #note(image: PushedImage): void {
    const before = this.#images.get(keyOf(image))
    const tags = [...new Set([...(before?.tags ?? []), ...image.tags])]
    this.#images.set(keyOf(image), { ...image, tags })
  }

  async #load(): Promise<void> {
    const text = await readFile(this.#path, 'utf8').catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') this.#log.warn({ err: error }, 'list of owed copies lost')
      return ''
    })
    for (const line of text.split('\n').slice(0, MAX_OWED)) {
      const image = parse(line)
      if (image !== undefined) this.#note(image)
    }
  }

  #write(change: () => Promise<void>): void {
    this.#work = this.#work.then(change).catch(error => {
      this.#log.warn({ err: error }, 'list of owed copies not written')
    })
  }
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
