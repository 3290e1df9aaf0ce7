import { isCode } from '../../errors.ts'

/** What a command leaves behind for scripts (design, section 8). */
export type ExitCode = 0 | 1 | 2 | 3

/** 0 done, 1 not reached or damaged, 2 usage, 3 no daemon. */
export const EXIT = { done: 0, failed: 1, usage: 2, noDaemon: 3 } as const

/** How an error ends a command. */
export function exitCodeOf(error: unknown): ExitCode {
  if (isCode(error, 'CONFIG_INVALID')) return EXIT.usage
  return isCode(error, 'UNAVAILABLE') ? EXIT.noDaemon : EXIT.failed
}

/** Where a command writes: standard output, or a test's notebook. */
export interface Screen {
  write(text: string): unknown
  /** Whether a person watches, so that lines may be drawn over. */
  readonly isTTY?: boolean
}
