import { Worker } from 'node:worker_threads'
import { StarlingError } from '../../errors.ts'
import type { BcryptJob, BcryptResult } from './bcrypt-worker.ts'

/** Checks passwords against their hashes; the seam where tests count how often. */
export interface PasswordCheck {
  verify(password: string, hash: string): Promise<boolean>
  close(): Promise<void>
}

/** A check needs a few MiB; a fault that needs more ends the thread, not the node. */
const MAX_HEAP_MIB = 64

/**
 * bcrypt on a thread of its own, so that neither the event loop nor the threads that read and write
 * files wait for it: whatever is asked, passwords take no more than one core. The thread starts with
 * the first check. Whoever asks bounds how many wait.
 */
export class BcryptThread implements PasswordCheck {
  #worker: Worker | undefined
  #lastId = 0
  readonly #waiting = new Map<number, PromiseWithResolvers<boolean>>()

  /** @throws `UNKNOWN` when the thread fails, `CLOSED` when it is closed meanwhile. */
  verify(password: string, hash: string): Promise<boolean> {
    this.#lastId += 1
    const answer = Promise.withResolvers<boolean>()
    this.#waiting.set(this.#lastId, answer)
    const job: BcryptJob = { id: this.#lastId, password, hash }
    this.#worker ??= this.#start()
    this.#worker.ref()
    this.#worker.postMessage(job)
    return answer.promise
  }

  async close(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    this.#fail(new StarlingError('CLOSED', 'the password check is closed'))
    await worker?.terminate()
  }

  #start(): Worker {
    const worker = new Worker(new URL('./bcrypt-worker.ts', import.meta.url), {
      name: 'bcrypt',
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB }
    })
    worker.on('message', ({ id, matches }: BcryptResult) => {
      this.#waiting.get(id)?.resolve(matches)
      this.#waiting.delete(id)
      if (this.#waiting.size === 0) worker.unref()
    })
    worker.on('error', cause => {
      if (this.#worker === worker) this.#worker = undefined
      this.#fail(new StarlingError('UNKNOWN', 'the password check failed', { cause }))
    })
    return worker
  }

  #fail(error: StarlingError): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
