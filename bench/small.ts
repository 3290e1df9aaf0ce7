import { setTimeout as delay } from 'node:timers/promises'
import { pushBlob, pushImage } from '../src/demo/client.ts'
import { type MadeImage, makeImage } from '../src/demo/image.ts'
import type { Digest } from '../src/digest.ts'
import { untilHeld } from './cluster/blobs.ts'
import { Cluster } from './cluster/cluster.ts'
import { type BenchNode, cpuSecondsOf, type LocalNode } from './cluster/node.ts'
import { machineMs } from './cluster/task.ts'
import { makeDataDir } from './data-dir.ts'
import { formatSize, peakRssBytes, percentile, startCpuMeter, VALID_CPU_SHARE } from './measure.ts'
import type { Findings } from './report.ts'

export interface SmallOptions {
  readonly images: number
  readonly data?: string
}

const NODES = 3
const REPOSITORY = 'bench/small'
const LAYER_BYTES = 16 * 1024
/** So many images at once, as a tool that mirrors them pushes. */
const PARALLEL_PUSHES = 8
const TIMEOUT_MS = 600_000
/** A node that does not know a tag yet is asked again so soon. */
const AGAIN_MS = 1

/**
 * Pushes small images to one of three nodes: how many a second until every node holds them, and how
 * soon after a tag was written on one node another one gives it. Throws `CONFIG_INVALID` when the
 * nodes cannot be started.
 */
export async function benchSmall(options: SmallOptions): Promise<Findings> {
  await using dir = await makeDataDir(options.data)
  const cluster = await Cluster.start({ nodes: NODES, link: 'none', dir: dir.path })
  try {
    const json = { ...(await small(cluster, options)), medium: dir.medium }
    return { title: titleOf(json), rows: rowsOf(json), json }
  } finally {
    await cluster.close()
  }
}

type Measured = Awaited<ReturnType<typeof small>> & { readonly medium: string }

async function small(cluster: Cluster, { images }: SmallOptions) {
  const [first] = cluster.nodes
  const last = cluster.nodes.at(-1)
  if (first === undefined || last === undefined) throw new RangeError('there are no nodes')
  const cpuShare = startCpuMeter()
  const cpuBefore = await cpuSecondsOf(cluster.nodes)
  const allHeldSeconds = await spreadImages(cluster.nodes, first, images)
  const cpuSecondsPerImage = ((await cpuSecondsOf(cluster.nodes)) - cpuBefore) / images
  const visible = await moveTag(first, last, images)
  const busy = cpuShare()
  const rss = await Promise.all(cluster.nodes.map(({ pid }) => peakRssBytes(pid)))
  const percentiles = (values: readonly number[]) => ({
    p50: percentile(values, 0.5),
    p99: percentile(values, 0.99)
  })
  return {
    bench: 'small',
    nodes: NODES,
    images,
    layerBytes: LAYER_BYTES,
    seconds: allHeldSeconds,
    imagesPerSecond: images / allHeldSeconds,
    cpuSecondsPerImage,
    answeredSeconds: percentiles(visible.map(each => each.answeredSeconds)),
    visibleSeconds: percentiles(visible.map(each => each.visibleSeconds)),
    staleAnswers: visible.reduce((sum, each) => sum + each.stale, 0),
    cpuShare: busy,
    peakRssBytes: Math.max(...rss),
    valid: busy <= VALID_CPU_SHARE
  }
}

/** Gives the seconds from the first byte pushed until the last node holds the last image. */
async function spreadImages(
  nodes: readonly LocalNode[],
  to: BenchNode,
  count: number
): Promise<number> {
  const images = Array.from({ length: count }, () => makeImage([LAYER_BYTES]))
  const sizes = new Map(images.flatMap(sizesOf))
  const sizeBytes = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0)
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const waiting = [...images.entries()]
  const startedMs = machineMs()
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, image] = next
      const address = { registry: to.registry, repository: `${REPOSITORY}/${index}`, tag: '1' }
      await pushImage(address, image, { signal })
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_PUSHES }, lane))
  const held = nodes.map(node => untilHeld(node, [...sizes.keys()], sizeBytes, signal))
  return (Math.max(...(await Promise.all(held))) - startedMs) / 1000
}

/** By digest, since the images share their empty config. */
function sizesOf({ digest, manifest, blobs }: MadeImage): [Digest, number][] {
  return [
    [digest, manifest.length],
    ...blobs.map((blob): [Digest, number] => [blob.digest, blob.sizeBytes])
  ]
}

interface Moved {
  /** From the manifest's first byte to the answer. */
  readonly answeredSeconds: number
  /** From the manifest's first byte until the other node gave it. */
  readonly visibleSeconds: number
  /** How often the other node said something else after the push was answered. */
  readonly stale: number
}

/** Points one tag at new images, one after the other, and pulls it elsewhere at once each time. */
async function moveTag(to: BenchNode, from: BenchNode, times: number): Promise<Moved[]> {
  const path = `/v2/${REPOSITORY}/moving/manifests/latest`
  const moved: Moved[] = []
  for (let index = 0; index < times; index++) {
    const image = makeImage([LAYER_BYTES])
    const address = { registry: to.registry, repository: `${REPOSITORY}/moving` }
    for (const blob of image.blobs) await pushBlob(address, blob)
    const startedMs = machineMs()
    const answer = await fetch(`http://${to.registry}${path}`, {
      method: 'PUT',
      headers: { 'content-type': image.mediaType },
      body: image.manifest
    })
    if (answer.status !== 201) throw new Error(`the push was answered ${answer.status}`)
    const answeredMs = machineMs()
    let stale = 0
    while ((await digestAt(`http://${from.registry}${path}`)) !== image.digest) {
      stale++
      await delay(AGAIN_MS)
    }
    moved.push({
      answeredSeconds: (answeredMs - startedMs) / 1000,
      visibleSeconds: (machineMs() - startedMs) / 1000,
      stale
    })
  }
  return moved
}

async function digestAt(url: string): Promise<string | null> {
  const answer = await fetch(url, { headers: { accept: '*/*' } })
  await answer.arrayBuffer()
  return answer.headers.get('docker-content-digest')
}

function titleOf({ images, layerBytes, medium }: Measured): string {
  return `small: ${images} images of one layer of ${formatSize(layerBytes)}, ${NODES} nodes (${medium})`
}

function rowsOf(measured: Measured): [string, string][] {
  const { answeredSeconds, visibleSeconds } = measured
  const busy = measured.valid ? '' : ': above 80 %, they are what was measured'
  return [
    ['images a second to all nodes', measured.imagesPerSecond.toFixed(1)],
    [
      'processor time of one',
      `${(1000 * measured.cpuSecondsPerImage).toFixed(1)} ms, all nodes together`
    ],
    ['a tag is visible elsewhere after', inMs(visibleSeconds)],
    ['its push is answered after', inMs(answeredSeconds)],
    ['stale answers', String(measured.staleAnswers)],
    ['peak memory of a node', formatSize(measured.peakRssBytes)],
    ['processors busy', `${Math.round(100 * measured.cpuShare)} %${busy}`]
  ]
}

function inMs({ p50, p99 }: { readonly p50: number; readonly p99: number }): string {
  return `p50 ${(1000 * p50).toFixed(0)} ms, p99 ${(1000 * p99).toFixed(0)} ms`
}
