import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pushBlob } from '../src/demo/client.ts'
import { type MadeBlob, makeBlob } from '../src/demo/image.ts'
import { NodeProcess } from '../src/demo/node-process.ts'
import { StarlingError } from '../src/errors.ts'
import { formatSize, loopbackLineRate, median, peakRssBytes, startCpuMeter } from './measure.ts'
import type { Findings } from './report.ts'

export interface ReplicateOptions {
  readonly nodes: number
  readonly size: number
  readonly link: 'none'
  readonly runs: number
  readonly data?: string
  readonly against?: readonly string[]
  readonly registry?: string
}

/** Above it the processors are what is measured, not the protocol. */
const VALID_CPU_SHARE = 0.8
const POLL_MS = 10
const RUN_TIMEOUT_MS = 600_000
const MiB = 1024 * 1024
const REPOSITORY = 'bench/replicate'

interface Seen {
  readonly bytesHeld: number
  readonly received: number
  readonly sent: number
}

/** A node as the bench sees it: a cluster of its own making or one that runs already. */
interface Target {
  readonly admin: string
  readonly pid?: number
}

interface Run {
  readonly seconds: readonly number[]
  readonly fromFirstByte: readonly number[]
  readonly seedEgressRatio: number
  readonly duplicateRatio: number
  readonly cpuShare: number
}

/**
 * Pushes a blob to one node and times when each other node holds it, durably: `seconds` from the
 * moment the push is answered, `fromFirstByte` from the first byte pushed. Throws `CONFIG_INVALID`
 * when the cluster cannot be set up as asked.
 */
export async function replicate(options: ReplicateOptions): Promise<Findings> {
  if (options.against !== undefined) {
    if (options.registry === undefined || options.against.length < 2) {
      throw new StarlingError(
        'CONFIG_INVALID',
        '--against needs two admin URLs or more, and --registry'
      )
    }
    const targets = options.against.map(url => ({ admin: url.replace(/\/$/, '') }))
    return measure(
      options,
      targets,
      new URL(options.registry).host,
      `cluster at ${options.registry}`
    )
  }
  if (options.nodes < 2)
    throw new StarlingError('CONFIG_INVALID', '--nodes: two or more are needed')
  const dir = await makeDir(options.data)
  const nodes: NodeProcess[] = []
  try {
    const secretFile = join(dir, 'cluster.secret')
    await writeFile(secretFile, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
    for (let index = 0; index < options.nodes; index++) {
      const first = nodes[0]
      const name = `node-${index + 1}`
      const joined = first && { join: first.addresses.mesh }
      const flags = ['--max-disk', '95%']
      nodes.push(
        await NodeProcess.start({ name, dataDir: join(dir, name), secretFile, flags, ...joined })
      )
    }
    for (const node of nodes) {
      await node.until(
        ({ ready, peers }) =>
          ready && peers.filter(({ state }) => state === 'live').length === options.nodes - 1,
        AbortSignal.timeout(60_000)
      )
    }
    const targets = nodes.map(({ addresses, pid }) => ({ admin: `http://${addresses.admin}`, pid }))
    const medium = dir.startsWith('/dev/shm') ? 'tmpfs' : dir
    return await measure(options, targets, nodes[0]?.addresses.registry ?? '', medium)
  } finally {
    await Promise.all(nodes.map(node => node.kill()))
    await rm(dir, { recursive: true, force: true })
  }
}

async function measure(
  options: ReplicateOptions,
  targets: readonly Target[],
  registry: string,
  medium: string
): Promise<Findings> {
  const receivers = targets.length - 1
  const pieces = Math.max(1, Math.ceil(options.size / (options.size <= 64 * MiB ? MiB : 4 * MiB)))
  const lineRate = await loopbackLineRate(Math.max(options.size, 256 * MiB))
  const boundSeconds = (options.size / lineRate) * (1 + Math.floor(Math.log2(receivers)) / pieces)
  const runs: Run[] = []
  for (let index = 0; index < options.runs; index++) {
    runs.push(await runOnce(targets, registry, makeBlob(options.size, randomBytes(16))))
  }
  const of = (pick: (run: Run) => number) => median(runs.map(pick))
  const seconds = { p50: of(run => median(run.seconds)), p100: of(run => Math.max(...run.seconds)) }
  const fromFirstByte = {
    p50: of(run => median(run.fromFirstByte)),
    p100: of(run => Math.max(...run.fromFirstByte))
  }
  const efficiency = { p50: boundSeconds / seconds.p50, p100: boundSeconds / seconds.p100 }
  const cpuShare = of(run => run.cpuShare)
  const rss = await Promise.all(targets.flatMap(({ pid }) => (pid ? [peakRssBytes(pid)] : [])))
  const json = {
    bench: 'replicate',
    nodes: targets.length,
    receivers,
    sizeBytes: options.size,
    link: options.against === undefined ? options.link : 'unknown',
    medium,
    runs: options.runs,
    lineRateBytesPerSecond: Math.round(lineRate),
    boundSeconds,
    seconds,
    fromFirstByte,
    efficiency,
    seedEgressRatio: of(run => run.seedEgressRatio),
    duplicateRatio: of(run => run.duplicateRatio),
    cpuShare,
    peakRssBytes: rss.length > 0 ? Math.max(...rss) : null,
    valid: cpuShare <= VALID_CPU_SHARE
  }
  return {
    title: `replicate: ${formatSize(options.size)} from 1 node to ${receivers} (${medium}, ${options.runs} runs)`,
    rows: [
      [
        'all nodes hold it after',
        `${seconds.p100.toFixed(2)} s (half of them ${seconds.p50.toFixed(2)} s)`
      ],
      ['from the first byte pushed', `${fromFirstByte.p100.toFixed(2)} s`],
      ['line rate, plain TCP', `${formatSize(lineRate)}/s each way`],
      ['bound', `${boundSeconds.toFixed(2)} s, so efficiency ${efficiency.p100.toFixed(2)}`],
      ['seed sent', `${json.seedEgressRatio.toFixed(2)} sizes`],
      ['received twice', `${(100 * json.duplicateRatio).toFixed(1)} %`],
      [
        'peak memory of a node',
        json.peakRssBytes === null ? 'not known' : formatSize(json.peakRssBytes)
      ],
      [
        'processors busy',
        `${Math.round(100 * cpuShare)} %${json.valid ? '' : ': above 80 %, they are what was measured'}`
      ]
    ],
    json
  }
}

async function runOnce(targets: readonly Target[], registry: string, blob: MadeBlob): Promise<Run> {
  const [seed, ...receivers] = targets
  if (seed === undefined) throw new StarlingError('CONFIG_INVALID', 'no nodes')
  const before = await Promise.all(targets.map(look))
  const cpu = startCpuMeter()
  const signal = AbortSignal.timeout(RUN_TIMEOUT_MS)
  const firstByteAt = performance.now()
  const held = receivers.map(async (target, index) => {
    const wanted = (before[index + 1]?.bytesHeld ?? 0) + blob.sizeBytes
    while ((await bytesHeld(target)) < wanted) await delay(POLL_MS, undefined, { signal })
    return performance.now()
  })
  await pushBlob({ registry, repository: REPOSITORY }, blob, { signal })
  const committedAt = performance.now()
  const heldAt = await Promise.all(held)
  const cpuShare = cpu()
  const after = await Promise.all(targets.map(look))
  const gained = (pick: (seen: Seen) => number) =>
    after.map((seen, index) => pick(seen) - pick(before[index] ?? seen))
  const [seedSent = 0] = gained(({ sent }) => sent)
  const received = gained(({ received }) => received).slice(1)
  const needed = blob.sizeBytes * receivers.length
  return {
    seconds: heldAt.map(at => Math.max(0, at - committedAt) / 1000),
    fromFirstByte: heldAt.map(at => (at - firstByteAt) / 1000),
    seedEgressRatio: seedSent / blob.sizeBytes,
    duplicateRatio: Math.max(0, received.reduce((sum, bytes) => sum + bytes, 0) / needed - 1),
    cpuShare
  }
}

async function look({ admin }: Target): Promise<Seen> {
  const text = await (await fetch(`${admin}/metrics`)).text()
  const counter = (name: string) =>
    Number(new RegExp(`^starling_${name}\\{plane="transfer"\\} (\\S+)$`, 'm').exec(text)?.[1] ?? 0)
  return {
    bytesHeld: await bytesHeld({ admin }),
    received: counter('bytes_received_total'),
    sent: counter('bytes_sent_total')
  }
}

async function bytesHeld({ admin }: Target): Promise<number> {
  const response = await fetch(`${admin}/status?images=0`)
  const status = (await response.json()) as { blobs: { bytesHeld: number } }
  return status.blobs.bytesHeld
}

/** Memory by default, since the question is about the network and not about the disk. */
async function makeDir(data: string | undefined): Promise<string> {
  if (data !== undefined) return mkdtemp(join(data, 'starling-bench-'))
  const memory = await stat('/dev/shm').catch(() => undefined)
  if (memory === undefined && process.platform === 'linux') {
    throw new StarlingError('CONFIG_INVALID', 'there is no /dev/shm: name a directory with --data')
  }
  return mkdtemp(join(memory === undefined ? tmpdir() : '/dev/shm', 'starling-bench-'))
}
