import { StarlingError } from '../../errors.ts'
import type { ControlClient } from '../control-client.ts'
import type { DamagedBlob, VerificationOutcome, VerificationProgress } from '../operations.ts'
import { count, formatBytes } from '../render.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface VerifyCommand {
  readonly client: ControlClient
  readonly screen: Screen
  /** Each line that the node tells, as it is. */
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Has a node read everything that it holds, and says what was damaged and what became of that.
 *
 * @returns 0 when all is sound, 1 when something was damaged, healed or not
 * @throws `UNAVAILABLE` when no node answers
 */
export async function runVerify({
  client,
  screen,
  json,
  signal
}: VerifyCommand): Promise<ExitCode> {
  const redraw = screen.isTTY === true && !json ? '\r\x1b[K' : undefined
  for await (const line of client.verify(signal)) {
    if (json) screen.write(`${JSON.stringify(line)}\n`)
    if (line.kind === 'progress') {
      if (redraw !== undefined) screen.write(`${redraw}${renderProgress(line)}`)
      continue
    }
    if (!json) screen.write(`${redraw ?? ''}${renderOutcome(line)}\n`)
    return line.damaged.length + line.unchecked.length === 0 ? EXIT.done : EXIT.failed
  }
  throw new StarlingError('UNAVAILABLE', 'the node stopped before everything was read')
}

function renderProgress(progress: VerificationProgress): string {
  const { blobs, totalBlobs, bytes, totalBytes, damaged } = progress
  const share = `${formatBytes(bytes)} of ${formatBytes(totalBytes)}`
  return `${blobs} of ${count(totalBlobs, 'blob')}, ${share}, ${damaged} damaged`
}

function renderOutcome({ blobs, bytes, damaged, unchecked }: VerificationOutcome): string {
  const sums = `${count(blobs, 'blob')} (${formatBytes(bytes)}) read, ${damaged.length} damaged`
  return [
    sums,
    ...damaged.map(({ digest, healing }) => `  ${digest}  ${WORDS[healing]}`),
    ...unchecked.map(digest => `  ${digest}  could not be read now`)
  ].join('\n')
}

const WORDS: Readonly<Record<DamagedBlob['healing'], string>> = {
  healed: 'was damaged; fetched again from a peer',
  lost: 'was damaged; no reachable node has it',
  pending: 'was damaged; still being fetched',
  unneeded: 'was damaged; nothing needs it'
}
