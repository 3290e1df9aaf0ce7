import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { type Digest, digestOf, tryDigest } from '../../src/digest.ts'
import { silentLog } from '../../src/log.ts'
import { Blobs } from '../../src/store/blobs.ts'
import type { Disk } from '../../src/store/disk.ts'

export const MIB = 1024 * 1024

/** A directory that goes when the test ends. */
export async function scratch(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'starling-store-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/** A store that is closed when the test ends. */
export async function openBlobs(t: TestContext, dataDir: string, disk?: Disk): Promise<Blobs> {
  const blobs = await Blobs.open({ dataDir, log: silentLog, ...(disk && { disk }) })
  t.after(() => blobs.close())
  return blobs
}

/** Bytes that differ from place to place, the same for the same seed. */
export function someBytes(sizeBytes: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(sizeBytes)
  let state = seed
  for (let at = 0; at < sizeBytes; at += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[at] = state >>> 24
  }
  return bytes
}

export async function readAll(stream: Readable): Promise<Buffer> {
  return buffer(stream)
}

/** Digests whose final name exists but whose bytes are others: there may never be any. */
export async function incompleteBlobs(dataDir: string): Promise<Digest[]> {
  const wrong: Digest[] = []
  const directory = join(dataDir, 'blobs')
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const algorithm = entry.name.length === 64 ? 'sha256' : 'sha512'
    const digest = tryDigest(`${algorithm}:${entry.name}`)
    const bytes = await readFile(join(entry.parentPath, entry.name))
    if (digest !== undefined && digestOf(bytes, algorithm) !== digest) wrong.push(digest)
  }
  return wrong
}
