import type { ControlClient } from '../control-client.ts'
import type { BlobSum, CollectionDocument, CollectionMode, ExplainedBlob } from '../operations.ts'
import { count, formatBytes } from '../render.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface GcCommand extends CollectionMode {
  readonly client: ControlClient
  readonly screen: Screen
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Has a node give back what nothing calls for, or says what it would do and why.
 *
 * @returns 0, or 1 when something was due and something else was in the way
 * @throws `UNAVAILABLE` when no node answers
 */
export async function runGc(command: GcCommand): Promise<ExitCode> {
  const { client, screen, json, signal, dryRun, now } = command
  const collection = await client.collect({ dryRun, now }, signal)
  screen.write(`${json ? JSON.stringify(collection) : renderCollection(collection)}\n`)
  const isHeldUp = !dryRun && collection.due.blobs > 0 && collection.obstacles.length > 0
  return isHeldUp ? EXIT.failed : EXIT.done
}

function renderCollection(collection: CollectionDocument): string {
  const { dryRun, obstacles, kept, waiting, due, swept, explained, unexplained } = collection
  const lines = [
    `${sum(kept)} kept, ${sum(waiting)} waiting, ${sum(due)} due`,
    ...obstacles.map(reason => `held up: ${reason}`)
  ]
  if (dryRun) {
    lines.push(...explained.map(explanation))
    if (unexplained > 0) lines.push(`and ${count(unexplained, 'blob')} more`)
  } else {
    lines.push(`${sum(swept)} removed`)
  }
  return lines.join('\n')
}

function explanation({ digest, bytes, decision, reason }: ExplainedBlob): string {
  return `  ${VERBS[decision]}  ${digest}  ${formatBytes(bytes)}  ${reason}`
}

const VERBS: Readonly<Record<ExplainedBlob['decision'], string>> = {
  keep: 'keep  ',
  wait: 'wait  ',
  sweep: 'remove'
}

function sum({ blobs, bytes }: BlobSum): string {
  return `${count(blobs, 'blob')} (${formatBytes(bytes)})`
}
