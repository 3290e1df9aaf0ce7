import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { makeBlob } from '../src/demo/image.ts'
import { StarlingError } from '../src/errors.ts'
import { compare, inOrder } from './compare.ts'
import { makeDataDir } from './data-dir.ts'
import { formatSize, median, peakRssBytes, plural } from './measure.ts'
import { push } from './raw-http.ts'
import type { Findings } from './report.ts'
import { parseRivals, type Rival, withRivals } from './rivals/rival.ts'

export interface PushOptions {
  readonly size: number
  readonly against: readonly string[]
  readonly runs: number
  readonly data?: string
}

const REPOSITORY = 'bench/push'
const MiB = 1024 * 1024

/**
 * Pushes new blobs to each server in turn, in one streamed PUT each, until the server says that it
 * is stored. `dd` writes and syncs as many bytes in each run: the least that the medium takes.
 * Throws `CONFIG_INVALID` when a rival cannot be started.
 */
export async function benchPush(options: PushOptions): Promise<Findings> {
  const rivals = parseRivals(options.against, ['docker-registry', 'nginx'])
  await using dir = await makeDataDir(options.data)
  return await withRivals(['starling', ...rivals], dir.path, async servers => {
    const [starling] = servers
    const timesOfDd: number[] = []
    const comparison = await compare(servers, options, async server => {
      if (server === starling) timesOfDd.push(await writeAndSync(dir.path, options.size))
      const seconds = await pushNew(server, options.size)
      await giveSpaceBack(server.dataDir)
      return seconds
    })
    const ddSeconds = median(timesOfDd)
    const rate = comparison.bytesPerSecond['starling'] ?? Number.NaN
    const overDd = options.size / rate / ddSeconds
    const peak = starling && (await peakRssBytes(starling.pid))
    return {
      title: `push: ${formatSize(options.size)} over HTTP (${dir.medium}, ${plural(options.runs, 'run')})`,
      rows: [
        ...inOrder(comparison),
        [
          'dd conv=fdatasync',
          `${formatSize(options.size / ddSeconds)}/s; starling takes ${overDd.toFixed(2)} times as long`
        ],
        ['peak memory of the node', formatSize(peak ?? 0)]
      ],
      json: {
        bench: 'push',
        sizeBytes: options.size,
        medium: dir.medium,
        ...comparison,
        ddBytesPerSecond: Math.round(options.size / ddSeconds),
        timeOverDd: overDd,
        peakRssBytes: peak ?? null
      }
    }
  })
}

async function pushNew(server: Rival, sizeBytes: number): Promise<number> {
  const blob = makeBlob(sizeBytes, randomBytes(16))
  const path = server.name === 'nginx' ? `/${blob.digest}` : await openUpload(server, blob.digest)
  return push(server.port, path, blob.sizeBytes, blob.bytes())
}

async function openUpload({ port }: Rival, digest: string): Promise<string> {
  const origin = `http://127.0.0.1:${port}`
  const opened = await fetch(`${origin}/v2/${REPOSITORY}/blobs/uploads/`, { method: 'POST' })
  const location = new URL(opened.headers.get('location') ?? '', origin)
  location.searchParams.set('digest', digest)
  return location.pathname + location.search
}

/** Writes as many bytes and waits until they are durable; gives the seconds. */
async function writeAndSync(dir: string, sizeBytes: number): Promise<number> {
  const file = join(dir, 'dd')
  const args = ['if=/dev/zero', `of=${file}`, 'bs=1M', `count=${Math.ceil(sizeBytes / MiB)}`]
  const startedMs = performance.now()
  const dd = spawn('dd', [...args, 'conv=fdatasync'], { stdio: 'ignore' })
  const [code] = await once(dd, 'exit')
  const seconds = (performance.now() - startedMs) / 1000
  await rm(file, { force: true })
  if (code !== 0) throw new StarlingError('CONFIG_INVALID', `dd ended with ${code}`)
  return seconds
}

/** Empties the blobs of past runs, so that memory holds one of them and not all. */
async function giveSpaceBack(dataDir: string): Promise<void> {
  for (const entry of await readdir(dataDir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && (await stat(path)).size >= MiB) await truncate(path)
  }
}
