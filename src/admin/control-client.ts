import { controlSocket } from './control.ts'
import { linesOf } from './line-stream.ts'
import type {
  CollectionDocument,
  CollectionMode,
  ForgottenDocument,
  VerificationLine
} from './operations.ts'
import { refusal } from './refusal.ts'

/** Progress is told twice a second; a node that is stopped or hung says nothing. */
const VERIFY_SILENCE_MS = 30_000

/** Removing 100,000 blobs takes some minutes, about which nothing is told before the end. */
const COLLECT_SILENCE_MS = 15 * 60_000

/** Some records are written and synced. */
const FORGET_SILENCE_MS = 30_000

/**
 * Has a running node on this machine do something, through the socket in its data directory. Every
 * method throws `UNAVAILABLE` when no node answers, or it stops in the middle, and `UNSUPPORTED`
 * when it is of another version.
 */
export interface ControlClient {
  collect(mode: CollectionMode, signal: AbortSignal): Promise<CollectionDocument>
  verify(signal: AbortSignal): AsyncIterable<VerificationLine>
  forget(name: string, signal: AbortSignal): Promise<ForgottenDocument>
}

export function controlOfData(dataDir: string): ControlClient {
  const socketPath = controlSocket(dataDir)
  const post = (path: string, silenceMs: number, signal: AbortSignal) => {
    const url = new URL(path, 'http://node')
    return linesOf({ where: socketPath, method: 'POST', url, socketPath, silenceMs, signal })
  }
  const first = async (answer: AsyncIterable<unknown>) => {
    for await (const line of answer) return line
    throw refusal(socketPath, 'it answered nothing')
  }
  // The node's answers are of the types that its routes promise.
  return {
    collect: async ({ dryRun, now }, signal) => {
      const path = `/collect?dryRun=${dryRun}&now=${now}`
      return (await first(post(path, COLLECT_SILENCE_MS, signal))) as CollectionDocument
    },
    verify: signal => post('/verify', VERIFY_SILENCE_MS, signal) as AsyncIterable<VerificationLine>,
    forget: async (name, signal) => {
      const path = `/forget?${new URLSearchParams({ name })}`
      return (await first(post(path, FORGET_SILENCE_MS, signal))) as ForgottenDocument
    }
  }
}
