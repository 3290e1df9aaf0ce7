import { loadavg } from 'node:os'
import { formatSize, median, startCpuMeter } from './measure.ts'
import { cpuSeconds } from './process-cpu.ts'
import type { Rival } from './rivals/rival.ts'

/** What moving the same bytes through several servers came to; medians over the runs. */
export interface Comparison {
  readonly runs: number
  readonly bytesPerSecond: Readonly<Record<string, number>>
  /** The first server's bytes per second over each other's, run by run. */
  readonly ratio: Readonly<Record<string, number>>
  /** Processor time that each server itself spent on one GiB; noise of the machine is not in it. */
  readonly cpuSecondsPerGiB: Readonly<Record<string, number>>
  readonly cpuShare: number
  readonly loadAverage: number
}

const GiB = 1024 ** 3

/**
 * Times the same move with each server in turn, run after run, so that what else the machine does
 * falls on all of them alike. `move` gives the seconds that it took.
 */
export async function compare(
  servers: readonly Rival[],
  options: { readonly size: number; readonly runs: number },
  move: (server: Rival) => Promise<number>
): Promise<Comparison> {
  const rates = new Map<string, number[]>(servers.map(({ name }) => [name, []]))
  const costs = new Map<string, number[]>(servers.map(({ name }) => [name, []]))
  const cpu = startCpuMeter()
  for (let run = 0; run < options.runs; run++) {
    for (const server of servers) {
      const before = await cpuSeconds(server.pid)
      const seconds = await move(server)
      const spent = (await cpuSeconds(server.pid)) - before
      rates.get(server.name)?.push(options.size / seconds)
      costs.get(server.name)?.push((spent * GiB) / options.size)
    }
  }
  return {
    runs: options.runs,
    bytesPerSecond: medians(rates, Math.round),
    ratio: ratios(rates),
    cpuSecondsPerGiB: medians(costs, value => Number(value.toFixed(3))),
    cpuShare: cpu(),
    loadAverage: loadavg()[0] ?? Number.NaN
  }
}

/** The comparison as rows, the first server first. */
export function inOrder(comparison: Comparison): [string, string][] {
  const rows = Object.entries(comparison.bytesPerSecond).map(([name, rate]): [string, string] => {
    const ratio = comparison.ratio[name]
    const cpu = comparison.cpuSecondsPerGiB[name]
    const than = ratio === undefined ? '' : `; starling is ${ratio.toFixed(2)} times as fast`
    return [name, `${formatSize(rate)}/s, ${cpu?.toFixed(2)} s of processor per GiB${than}`]
  })
  const load = `${comparison.loadAverage.toFixed(1)} processes (load average)`
  return [...rows, ['the machine', `${Math.round(100 * comparison.cpuShare)} % busy, ${load}`]]
}

/** The first one's values over each other's, run by run: a busy moment falls on both of a pair. */
export function ratios(values: ReadonlyMap<string, readonly number[]>): Record<string, number> {
  const [[, ours] = ['', []], ...others] = values
  return Object.fromEntries(
    others.map(([name, theirs]) => [
      name,
      median(theirs.map((value, run) => (ours[run] ?? Number.NaN) / value))
    ])
  )
}

export function medians(
  values: ReadonlyMap<string, readonly number[]>,
  round: (value: number) => number
): Record<string, number> {
  return Object.fromEntries([...values].map(([name, each]) => [name, round(median(each))]))
}
