import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { truncate } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { makeBlob } from '../../src/demo/image.ts'
import type { Digest } from '../../src/digest.ts'
import { type BenchNode, bytesHeld, isLocal } from './node.ts'
import { machineMs, type Seeded } from './task.ts'

/** Looking whether a file is there costs microseconds, a question to a node a hundred times that. */
const LOOK_MS = 2
const ASK_MS = 10

/** Blobs of random bytes that nobody has yet. */
export function newBlobs(count: number, sizeBytes: number): Seeded[] {
  return Array.from({ length: count }, () => ({
    sizeBytes,
    seed: randomBytes(16).toString('hex')
  }))
}

export function digestOf({ sizeBytes, seed }: Seeded): Digest {
  return makeBlob(sizeBytes, Buffer.from(seed, 'hex')).digest
}

/**
 * Waits until a node holds blobs, and so many bytes in all; gives the moment, see `machineMs`.
 *
 * A blob under its final name is verified and synced, but for the sync of its directory, after
 * which the node counts it.
 */
export async function untilHeld(
  node: BenchNode,
  digests: readonly Digest[],
  wantedBytes: number,
  signal: AbortSignal
): Promise<number> {
  if (isLocal(node)) {
    for (const digest of digests) {
      while (!existsSync(node.fileOf(digest))) await delay(LOOK_MS, undefined, { signal })
    }
  }
  while ((await bytesHeld(node)) < wantedBytes) await delay(ASK_MS, undefined, { signal })
  return machineMs()
}

/** So that memory holds the blobs of one run and not of all; or that a cluster is left as it was. */
export async function removeBlobs(
  nodes: readonly BenchNode[],
  repository: string,
  digests: readonly Digest[]
): Promise<void> {
  const [seed] = nodes
  for (const digest of digests) {
    const local = nodes.filter(isLocal)
    await Promise.all(local.map(node => truncate(node.fileOf(digest))))
    if (local.length > 0 || seed === undefined) continue
    const url = `http://${seed.registry}/v2/${repository}/blobs/${digest}`
    await (await fetch(url, { method: 'DELETE' })).body?.cancel()
  }
}
