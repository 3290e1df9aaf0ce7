/**
 * Proves that records scale: one difference among 100,000 is settled with less than 20 KB and within
 * 1 s, neighbours with the same records exchange heartbeats of a few hundred bytes and nothing else, and a million records
 * take tens of MB of memory. Two nodes over a real mesh on loopback, each with journal and index on
 * disk. Prints one JSON object; exits 1 when a bound is broken.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { ReconcilingNode } from './reconciliation/node.ts'
import { fillRecords, weighRecords } from './reconciliation/weight.ts'

const LIMIT_BYTES = 20_000
const LIMIT_SECONDS = 1
const LIMIT_MEMORY_BYTES = 100_000_000
const QUIET_SECONDS = 20
/** A heartbeat goes every 2 s over each connection, is answered with one, and goes by gossip too. */
const LIMIT_BEAT_BYTES = 500
const ROUNDS = 5

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '100000' },
    many: { type: 'string', default: '1000000' },
    weigh: { type: 'string' }
  }
})
if (values.weigh !== undefined) {
  console.log(JSON.stringify(await weighRecords(values.weigh)))
} else {
  const figures = await measure(Number(values.records), Number(values.many))
  console.log(JSON.stringify(figures))
  process.exitCode = figures.holds ? 0 : 1
}

async function measure(count: number, many: number) {
  const directory = await mkdtemp(join(tmpdir(), 'starling-reconciliation-'))
  try {
    const exchange = await exchangeOf(directory, count)
    const memory = await memoryOf(directory, [count, many])
    const [, ofMany] = memory.map(({ addedBytes }) => addedBytes)
    const holds =
      exchange.differences.every(({ bytes }) => bytes < LIMIT_BYTES) &&
      exchange.medianSeconds < LIMIT_SECONDS &&
      exchange.quiet.frames === 0 &&
      exchange.quiet.beatBytes < LIMIT_BEAT_BYTES &&
      (ofMany ?? 0) < LIMIT_MEMORY_BYTES
    return {
      ...{ prove: 'reconciliation', records: count, cores: availableParallelism() },
      ...{ ...exchange, memory, holds }
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** A full copy to an empty node, single differences after that, and a time in which nothing happens. */
async function exchangeOf(directory: string, count: number) {
  await writeFile(join(directory, 'secret'), 'a secret of a proof, long enough\n', { mode: 0o600 })
  const full = await ReconcilingNode.open('full', directory, [])
  try {
    await fillRecords(full.records, count)
    const empty = await ReconcilingNode.open('empty', directory, [full.mesh.address])
    try {
      const copy = await empty.levelWith(full)
      const differences: Exchanged[] = []
      for (let round = 0; round < ROUNDS; round++) {
        await fillRecords(full.records, 1, count + round)
        differences.push(await empty.levelWith(full))
      }
      const seconds = differences.map(each => each.seconds).sort((a, b) => a - b)
      const medianSeconds = seconds[Math.floor(ROUNDS / 2)] ?? Number.NaN
      return { copy, differences, medianSeconds, quiet: await quietOf(full, empty) }
    } finally {
      await empty.close()
    }
  } finally {
    await full.close()
  }
}

/** What two nodes with the same records say to each other. */
async function quietOf(one: ReconcilingNode, other: ReconcilingNode) {
  const before = one.meshBytes
  const frames = one.frames + other.frames
  await delay(QUIET_SECONDS * 1000)
  return {
    frames: one.frames + other.frames - frames,
    beatBytes: one.beatBytes(),
    /** Both ways, with all that libp2p adds. */
    wireBytesPerSecond: Math.round((one.meshBytes - before) / QUIET_SECONDS)
  }
}

type Exchanged = Awaited<ReturnType<ReconcilingNode['levelWith']>>

/** What a process takes more with so many records open than with none. */
async function memoryOf(directory: string, counts: readonly number[]) {
  const none = await weigh(join(directory, 'none'))
  const weights = []
  for (const records of counts) {
    const dataDir = join(directory, `weigh-${records}`)
    const filling = performance.now()
    await fillRecords(dataDir, records)
    const fillSeconds = (performance.now() - filling) / 1000
    const { rssBytes, anonymousBytes, heapBytes, openSeconds } = await weigh(dataDir)
    weights.push({
      ...{ records, fillSeconds, openSeconds },
      addedBytes: anonymousBytes - none.anonymousBytes,
      addedHeapBytes: heapBytes - none.heapBytes,
      addedWithMappedFilesBytes: rssBytes - none.rssBytes
    })
  }
  return weights
}

/** In a process of its own, which has done nothing else. */
async function weigh(dataDir: string): Promise<Awaited<ReturnType<typeof weighRecords>>> {
  const args = ['--expose-gc', import.meta.filename, '--weigh', dataDir]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout)
}
