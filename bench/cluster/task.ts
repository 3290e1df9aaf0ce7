import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { BenchNode } from './node.ts'

/** Work for a process of its own where a node is, since a network namespace is a process's. */
export type Task =
  | {
      /** Pushes blobs, several at a time; gives a {@link Pushed}. */
      readonly kind: 'push'
      readonly registry: string
      readonly repository: string
      readonly blobs: readonly Seeded[]
    }
  /** Waits at a free port, which it gives at once, for the other end of the line. */
  | { readonly kind: 'listen'; readonly host: string; readonly bytes: number }
  /** Measures the line, so many bytes each way; gives bytes per second. */
  | { readonly kind: 'pour'; readonly host: string; readonly port: number; readonly bytes: number }

/** A blob of random bytes that can be made again: see `makeBlob`. */
export interface Seeded {
  readonly sizeBytes: number
  /** Hexadecimal. */
  readonly seed: string
}

/** Moments of the machine's clock, which {@link machineMs} reads in every process alike. */
export interface Pushed {
  readonly firstByteMs: number
  /** When the registry had answered for the last blob. */
  readonly committedMs: number
}

const PROGRAM = fileURLToPath(new URL('./inside.ts', import.meta.url))

/** Milliseconds of a clock that all processes of this machine share. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** Runs a push where the node is. */
export async function pushInside(
  node: BenchNode,
  repository: string,
  blobs: readonly Seeded[]
): Promise<Pushed> {
  const task: Task = { kind: 'push', registry: node.registry, repository, blobs }
  return JSON.parse(await answerOf(start(node, task))) as Pushed
}

/**
 * Bytes per second that plain TCP moves between two nodes, in each direction while both are busy:
 * what no protocol on top can exceed.
 */
export async function lineRate(
  from: BenchNode,
  to: BenchNode,
  host: string,
  bytes: number
): Promise<number> {
  const listener = start(from, { kind: 'listen', host, bytes })
  try {
    const [port] = await once(listener.stdout ?? listener, 'data')
    const task: Task = { kind: 'pour', host, port: Number(port), bytes }
    return Number(await answerOf(start(to, task)))
  } finally {
    listener.kill('SIGKILL')
  }
}

function start({ within }: BenchNode, task: Task): ChildProcess {
  const [command = process.execPath, ...args] = [...within, process.execPath, PROGRAM]
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  // Not as an argument: thousands of blobs are more than a command line takes.
  child.stdin.end(JSON.stringify(task))
  return child
}

async function answerOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new TypeError('a task answers on its standard output')
  const [answer, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  if (code !== 0) throw new Error(`a task of the bench ended with ${code}`)
  return answer
}
