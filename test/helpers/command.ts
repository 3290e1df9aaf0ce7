import { execFile } from 'node:child_process'

export interface CommandOptions {
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  readonly timeoutMs?: number
}

const OUTPUT_LIMIT_BYTES = 64 * 1024 * 1024
/** Longer than any one pull or push of the test image takes on two busy cores. */
const DEFAULT_TIMEOUT_MS = 120_000

/**
 * Runs a program to its end and gives its standard output, without the last line break. Throws
 * with everything it printed when it exits with another code than 0 or outlives the time limit.
 */
export function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {}
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  execFile(
    command,
    args,
    {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      maxBuffer: OUTPUT_LIMIT_BYTES,
      timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      killSignal: 'SIGKILL'
    },
    (error, stdout, stderr) => {
      if (error === null) return resolve(stdout.trimEnd())
      const ended = error.killed ? 'was stopped at its time limit' : `exited with ${error.code}`
      const message = `${command} ${args.join(' ')} ${ended}\n${stdout}${stderr}`
      reject(new Error(message, { cause: error }))
    }
  )
  return promise
}
