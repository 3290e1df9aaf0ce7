import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pushBlob } from '../src/demo/client.ts'
import { type MadeBlob, makeBlob } from '../src/demo/image.ts'
import { compare, inOrder } from './compare.ts'
import { makeDataDir } from './data-dir.ts'
import { formatSize, peakRssBytes, plural } from './measure.ts'
import { pull } from './raw-http.ts'
import type { Findings } from './report.ts'
import { parseRivals, type Rival, withRivals } from './rivals/rival.ts'

export interface PullOptions {
  readonly size: number
  readonly against: readonly string[]
  readonly runs: number
  readonly data?: string
}

const REPOSITORY = 'bench/pull'

/**
 * Pulls a blob over HTTP that is in the page cache, from each server in turn, again and again.
 * Throws `CONFIG_INVALID` when a rival cannot be started.
 */
export async function benchPull(options: PullOptions): Promise<Findings> {
  const rivals = parseRivals(options.against, ['docker-registry', 'nginx'])
  await using dir = await makeDataDir(options.data)
  return await withRivals(['starling', ...rivals], dir.path, async servers => {
    const blob = makeBlob(options.size, randomBytes(16))
    const path = `/v2/${REPOSITORY}/blobs/${blob.digest}`
    for (const server of servers) {
      await give(server, blob, path)
      await pull(server.port, path, blob.sizeBytes)
    }
    const comparison = await compare(servers, options, server =>
      pull(server.port, path, blob.sizeBytes)
    )
    const [starling] = servers
    const peak = starling && (await peakRssBytes(starling.pid))
    return {
      title: `pull: ${formatSize(options.size)} over HTTP, hot (${dir.medium}, ${plural(options.runs, 'run')})`,
      rows: [...inOrder(comparison), ['peak memory of the node', formatSize(peak ?? 0)]],
      json: {
        bench: 'pull',
        sizeBytes: options.size,
        medium: dir.medium,
        ...comparison,
        peakRssBytes: peak ?? null
      }
    }
  })
}

/** nginx takes no pushes: the blob is put where its path looks for it. */
async function give(server: Rival, blob: MadeBlob, path: string): Promise<void> {
  if (server.name !== 'nginx') {
    await pushBlob({ registry: `127.0.0.1:${server.port}`, repository: REPOSITORY }, blob)
    return
  }
  const file = join(server.dataDir, path)
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, blob.bytes())
}
