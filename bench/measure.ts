import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'

const UNITS = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** Above it the processors are what is measured, not the protocol. */
export const VALID_CPU_SHARE = 0.8

/** Reads a size such as `64MiB`; `undefined` when it is none. */
export function parseSize(text: string): number | undefined {
  const [, digits, unit] = /^([1-9][0-9]*)(B|KiB|MiB|GiB)$/.exec(text) ?? []
  if (digits === undefined || unit === undefined) return undefined
  return Number(digits) * UNITS[unit as keyof typeof UNITS]
}

export function formatSize(bytes: number): string {
  const unit = (['GiB', 'MiB', 'KiB'] as const).find(each => bytes >= UNITS[each]) ?? 'B'
  return `${Number((bytes / UNITS[unit]).toFixed(1))} ${unit}`
}

/** Bits per second, as they are given to `--link`. */
export function formatRate(bitsPerSecond: number): string {
  return bitsPerSecond % 1e9 === 0 ? `${bitsPerSecond / 1e9}gbit` : `${bitsPerSecond / 1e6}mbit`
}

export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** The value below which a share of the values lies (nearest rank). */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

/** Measures which share of all cores was busy between two moments, from 0 to 1. */
export function startCpuMeter(): () => number {
  const before = cpuTimes()
  return () => {
    const after = cpuTimes()
    const total = after.total - before.total
    return total === 0 ? 0 : 1 - (after.idle - before.idle) / total
  }
}

/** The most memory that a process has had resident so far, in bytes (Linux). */
export async function peakRssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024
}

function cpuTimes(): { idle: number; total: number } {
  let idle = 0
  let total = 0
  for (const { times } of cpus()) {
    idle += times.idle
    total += times.user + times.nice + times.sys + times.idle + times.irq
  }
  return { idle, total }
}
