import { isCode, StarlingError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { problemOf, readSmallFile, watchFiles } from './file-watch.ts'
import { openPolicy, type Policy } from './policy.ts'
import { parsePolicy } from './policy-file.ts'

/** The policy as its file has it now; without a file, the open one. */
export class PolicyFile {
  readonly #file: string | undefined
  readonly #log: Log
  #current: Policy
  readonly #stopWatching: () => void

  /** Throws `CONFIG_INVALID`. */
  static async open(file: string | undefined, log: Log): Promise<PolicyFile> {
    return new PolicyFile(file, file === undefined ? openPolicy() : await readPolicy(file), log)
  }

  private constructor(file: string | undefined, policy: Policy, log: Log) {
    this.#file = file
    this.#log = log
    this.#current = policy
    this.#stopWatching =
      file === undefined ? () => {} : watchFiles([file], () => void this.reload())
  }

  get current(): Policy {
    return this.#current
  }

  /** Reads the file again and takes it as a whole; one with a mistake is logged, and the old one stays. */
  async reload(): Promise<void> {
    if (this.#file === undefined) return
    try {
      this.#current = await readPolicy(this.#file)
      this.#log.info({ file: this.#file, rules: this.#current.rules.length }, 'policy reloaded')
    } catch (error) {
      this.#log.error({ file: this.#file, ...problemOf(error) }, 'policy not reloaded')
    }
  }

  close(): void {
    this.#stopWatching()
  }
}

async function readPolicy(file: string): Promise<Policy> {
  const text = await readSmallFile(file, '--policy')
  try {
    return parsePolicy(text)
  } catch (cause) {
    if (!isCode(cause, 'CONFIG_INVALID')) throw cause
    throw new StarlingError('CONFIG_INVALID', `--policy: ${file}:\n${cause.message}`)
  }
}
