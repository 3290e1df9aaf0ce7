import { loadavg } from 'node:os'
import { pushImage } from '../src/demo/client.ts'
import { makeImage } from '../src/demo/image.ts'
import { medians, ratios } from './compare.ts'
import { makeDataDir } from './data-dir.ts'
import { peakRssBytes, plural, startCpuMeter } from './measure.ts'
import { hammer } from './raw-http.ts'
import type { Findings } from './report.ts'
import { parseRivals, type Rival, withRivals } from './rivals/rival.ts'

export interface ManifestsOptions {
  readonly against: readonly string[]
  readonly runs: number
  readonly by: 'tag' | 'digest'
  readonly data?: string
}

const REPOSITORY = 'bench/manifests'
const TAG = 'latest'
const CONNECTIONS = [1, 16, 64] as const
const METHODS = ['GET', 'HEAD'] as const
const WARM_UP_MS = 500
const RUN_MS = 1_500
/** A small image: four layers, a manifest of about a kilobyte. */
const LAYER_SIZES = [4096, 4096, 4096, 4096]

/**
 * How many manifests each server gives in a second, asked over and over for one by its tag or its
 * digest. Throws `CONFIG_INVALID` when a rival cannot be started.
 */
export async function benchManifests(options: ManifestsOptions): Promise<Findings> {
  const rivals = parseRivals(options.against, ['docker-registry'])
  await using dir = await makeDataDir(options.data)
  return await withRivals(['starling', ...rivals], dir.path, async servers => {
    const image = makeImage(LAYER_SIZES)
    for (const server of servers) {
      const registry = `127.0.0.1:${server.port}`
      await pushImage({ registry, repository: REPOSITORY, tag: TAG }, image)
    }
    const reference = options.by === 'tag' ? TAG : image.digest
    const path = `/v2/${REPOSITORY}/manifests/${reference}`
    const cpu = startCpuMeter()
    const results: Result[] = []
    for (const method of METHODS) {
      for (const connections of CONNECTIONS) {
        results.push(await measure(servers, options.runs, { method, path, connections }))
      }
    }
    const [starling] = servers
    const peak = starling && (await peakRssBytes(starling.pid))
    const cpuShare = cpu()
    const load = loadavg()[0] ?? Number.NaN
    return {
      title: `manifests by ${options.by}, ${image.manifest.length} bytes, requests per second (${dir.medium}, ${plural(options.runs, 'run')})`,
      rows: [
        ...results.map(row),
        ['the machine', `${Math.round(100 * cpuShare)} % busy, ${load.toFixed(1)} (load average)`]
      ],
      json: {
        bench: 'manifests',
        by: options.by,
        manifestBytes: image.manifest.length,
        medium: dir.medium,
        runs: options.runs,
        results,
        cpuShare,
        loadAverage: load,
        peakRssBytes: peak ?? null
      }
    }
  })
}

interface Result {
  readonly method: 'GET' | 'HEAD'
  readonly connections: number
  readonly requestsPerSecond: Readonly<Record<string, number>>
  readonly ratio: Readonly<Record<string, number>>
}

async function measure(
  servers: readonly Rival[],
  runs: number,
  request: { method: 'GET' | 'HEAD'; path: string; connections: number }
): Promise<Result> {
  const { method, connections } = request
  const rates = new Map<string, number[]>(servers.map(({ name }) => [name, []]))
  const load = { connections, warmUpMs: WARM_UP_MS, runMs: RUN_MS }
  for (let run = 0; run < runs; run++) {
    for (const { name, port } of servers) {
      rates.get(name)?.push(await hammer(port, request, load))
    }
  }
  return {
    method,
    connections,
    requestsPerSecond: medians(rates, Math.round),
    ratio: ratios(rates)
  }
}

function row({ method, connections, requestsPerSecond, ratio }: Result): [string, string] {
  const each = Object.entries(requestsPerSecond).map(([name, rate]) => {
    const times = ratio[name]
    return `${name} ${rate}${times === undefined ? '' : ` (x ${times.toFixed(1)})`}`
  })
  return [`${method}, ${connections} connections`, each.join(', ')]
}
