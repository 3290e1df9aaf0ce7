import { loadavg } from 'node:os'
import { medians, ratios } from './compare.ts'
import { makeDataDir } from './data-dir.ts'
import { formatSize, peakRssBytes, percentile, startCpuMeter } from './measure.ts'
import { KINDS, type Kind, type Load, MixedClient } from './mixed-client.ts'
import { cpuSeconds } from './process-cpu.ts'
import type { Findings } from './report.ts'
import { parseRivals, type Rival, withRivals } from './rivals/rival.ts'

export interface MixedOptions {
  readonly against: readonly string[]
  readonly connections: number
  /** The layer of each image. */
  readonly size: number
  readonly runs: number
  readonly data?: string
}

/** As zot's zb has them: how many in a hundred are pushes, pulls and questions. */
const LOADS: readonly Load[] = [
  { push: 20, pull: 70, ask: 10 },
  { push: 33, pull: 33, ask: 34 },
  { push: 25, pull: 75, ask: 0 }
]
const WARM_UP_MS = 500
const RUN_MS = 2_000

/**
 * How many operations each server does in a second when many clients push images, pull them and ask
 * for their manifests at the same time. Throws `CONFIG_INVALID` when a rival cannot be started.
 */
export async function benchMixed(options: MixedOptions): Promise<Findings> {
  const rivals = parseRivals(options.against, ['docker-registry'])
  await using dir = await makeDataDir(options.data)
  return await withRivals(['starling', ...rivals], dir.path, async servers => {
    const cpu = startCpuMeter()
    const results: Result[] = []
    for (const load of LOADS) results.push(await measure(servers, load, options))
    const [starling] = servers
    const peak = starling && (await peakRssBytes(starling.pid))
    const cpuShare = cpu()
    const load = loadavg()[0] ?? Number.NaN
    const { connections, size, runs } = options
    return {
      title: `mixed: images of ${formatSize(size)}, ${connections} clients at once (${dir.medium}, ${runs} runs)`,
      rows: [
        ...results.flatMap(rows),
        ['the machine', `${Math.round(100 * cpuShare)} % busy, ${load.toFixed(1)} (load average)`]
      ],
      json: {
        bench: 'mixed',
        sizeBytes: size,
        ...{ connections, medium: dir.medium, runs, results, cpuShare },
        loadAverage: load,
        peakRssBytes: peak ?? null
      }
    }
  })
}

interface Result {
  readonly load: Load
  readonly operationsPerSecond: Readonly<Record<string, number>>
  readonly ratio: Readonly<Record<string, number>>
  /** Processor time of the server itself. */
  readonly cpuMsPerOperation: Readonly<Record<string, number>>
  /** By server, from sending the first request of an operation to its last byte. */
  readonly latencyMs: Readonly<Record<string, Partial<Record<Kind, Percentiles>>>>
}

interface Percentiles {
  readonly p50: number
  readonly p99: number
}

async function measure(
  servers: readonly Rival[],
  load: Load,
  { connections, size, runs }: MixedOptions
): Promise<Result> {
  const rates = new Map<string, number[]>(servers.map(({ name }) => [name, []]))
  const costs = new Map<string, number[]>(servers.map(({ name }) => [name, []]))
  const times = new Map(servers.map(({ name }) => [name, new Map<Kind, number[]>()]))
  for (let run = 0; run < runs; run++) {
    for (const { name, port, pid } of servers) {
      const client = await MixedClient.open({ port, connections, sizeBytes: size, load })
      try {
        await client.run(WARM_UP_MS)
        const before = await cpuSeconds(pid)
        const done = await client.run(RUN_MS)
        const spent = (await cpuSeconds(pid)) - before
        rates.get(name)?.push(done.operations / done.seconds)
        costs.get(name)?.push((1000 * spent) / done.operations)
        for (const [kind, each] of done.latenciesMs) {
          const all = times.get(name)?.get(kind) ?? []
          times.get(name)?.set(kind, all.concat(each))
        }
      } finally {
        client.close()
      }
    }
  }
  return {
    load,
    operationsPerSecond: medians(rates, Math.round),
    ratio: ratios(rates),
    cpuMsPerOperation: medians(costs, value => Number(value.toFixed(2))),
    latencyMs: Object.fromEntries([...times].map(([name, each]) => [name, percentilesOf(each)]))
  }
}

function percentilesOf(
  times: ReadonlyMap<Kind, readonly number[]>
): Partial<Record<Kind, Percentiles>> {
  const at = (each: readonly number[], share: number) => Number(percentile(each, share).toFixed(1))
  return Object.fromEntries(
    [...times].map(([kind, each]) => [kind, { p50: at(each, 0.5), p99: at(each, 0.99) }])
  )
}

function rows(result: Result): [string, string][] {
  const { load, operationsPerSecond, ratio, cpuMsPerOperation, latencyMs } = result
  const title = `${load.push} % push, ${load.pull} % pull, ${load.ask} % ask`
  return Object.entries(operationsPerSecond).map(([name, rate], index) => {
    const times = ratio[name]
    const than = times === undefined ? '' : `; starling does ${times.toFixed(1)} times as many`
    const each = KINDS.flatMap(kind => {
      const found = latencyMs[name]?.[kind]
      return found === undefined ? [] : [`${kind} ${found.p50}/${found.p99} ms`]
    })
    const cost = `${cpuMsPerOperation[name]} ms of processor each`
    return [
      index === 0 ? title : '',
      `${name} ${rate}/s, ${cost}, p50/p99 ${each.join(', ')}${than}`
    ]
  })
}
