/**
 * Proves that a node with 100,000 blobs and 5,000 tags listens within 2 s of being started. The
 * store is filled by its own modules, unsynced. Prints one JSON object, with the figures of an empty
 * node beside it; exits 1 when it took longer. Linux only.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../../src/clock.ts'
import { type Digest, digestOf } from '../../src/digest.ts'
import { silentLog } from '../../src/log.ts'
import { MAX_MANIFEST_BYTES } from '../../src/manifest.ts'
import { Records } from '../../src/records/records.ts'
import type { Write } from '../../src/records/values.ts'
import { Blobs } from '../../src/store/blobs.ts'
import { type Disk, nodeDisk } from '../../src/store/disk.ts'
import { Daemon, type DaemonOptions } from '../helpers/daemon.ts'

const LIMIT_MS = 2_000
const TAGS_PER_REPOSITORY = 100
/** The manifest and what it names, all blobs of its own. */
const BLOBS_PER_IMAGE = 20
const ROUNDS = 3
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'

const { values } = parseArgs({ options: { images: { type: 'string', default: '5000' } } })
const figures = await measure(Number(values.images))
console.log(JSON.stringify(figures))
process.exitCode = figures.holds ? 0 : 1

async function measure(images: number) {
  const directory = await mkdtemp(join(tmpdir(), 'starling-many-'))
  const options: DaemonOptions = { name: 'node-1', dataDir: join(directory, 'node-1') }
  try {
    // The records are this node's own, so there must be a node first.
    const empty = await startOnce(options, 0)
    const id = empty.nodeId
    const fillMs = performance.now()
    await fill(options.dataDir, id, images)
    const filledMs = performance.now()
    const blobs = images * BLOBS_PER_IMAGE
    const starts: Start[] = []
    for (let round = 0; round < ROUNDS; round++) starts.push(await startOnce(options, blobs))
    const worstMs = Math.max(...starts.map(({ listeningMs }) => listeningMs))
    return {
      ...{ prove: 'many-blobs', blobs, tags: images, cores: availableParallelism() },
      fillSeconds: (filledMs - fillMs) / 1000,
      ...{ empty, starts, worstListeningMs: worstMs, limitMs: LIMIT_MS },
      holds: worstMs < LIMIT_MS
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

interface Start {
  readonly nodeId: string
  readonly listeningMs: number
  /** Processor time that all threads had used by then: it does not grow when others are busy. */
  readonly listeningCpuMs: number
  readonly readyMs: number
  readonly countedMs: number
  readonly peakRssBytes: number
}

async function startOnce(options: DaemonOptions, blobCount: number): Promise<Start> {
  const startMs = performance.now()
  const sinceStart = () => Math.round(performance.now() - startMs)
  const daemon = await Daemon.start(options)
  const listeningMs = sinceStart()
  const listeningCpuMs = await cpuMs(daemon.pid)
  await daemon.ready()
  const readyMs = sinceStart()
  const { node } = await daemon.statusWhere(
    'to have counted its blobs',
    ({ blobs }) => blobs.missing === 0 && blobs.held === blobCount
  )
  const countedMs = sinceStart()
  const peakRssBytes = await daemon.peakRssBytes()
  // Killed, so that nothing is written at the end that makes the next start easier.
  await daemon.kill()
  return { nodeId: node.id, listeningMs, listeningCpuMs, readyMs, countedMs, peakRssBytes }
}

async function cpuMs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? []
  // Fields 14 and 15 of proc(5), user and system time, in ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) * 10
}

async function fill(dataDir: string, origin: string, images: number): Promise<void> {
  const blobs = await Blobs.open({ dataDir, disk: unsyncedDisk(), log: silentLog })
  const records = await Records.open({ dataDir, origin, clock: systemClock, log: silentLog })
  try {
    for (let from = 0; from < images; from += TAGS_PER_REPOSITORY) {
      const repository = `many/images-${from}`
      const numbers = Array.from({ length: TAGS_PER_REPOSITORY }, (_, index) => from + index)
      const made = await Promise.all(numbers.map(number => putImage(blobs, number)))
      await records.write(
        made.flatMap(({ digest, sizeBytes }, index): Write[] => [
          { kind: 'link', repository, digest, mediaType: MANIFEST_TYPE, sizeBytes },
          { kind: 'tag', repository, tag: `v${index}`, digest }
        ])
      )
    }
  } finally {
    await records.close()
    await blobs.close()
  }
}

async function putImage(
  blobs: Blobs,
  number: number
): Promise<{ readonly digest: Digest; readonly sizeBytes: number }> {
  const descriptors: { mediaType: string; digest: Digest; size: number }[] = []
  for (let part = 1; part < BLOBS_PER_IMAGE; part++) {
    const bytes = Buffer.from(`part ${part} of image ${number}`)
    const digest = digestOf(bytes)
    await blobs.put(bytes, digest)
    descriptors.push({ mediaType: 'application/octet-stream', digest, size: bytes.length })
  }
  const [config, ...layers] = descriptors
  const document = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers }
  const bytes = Buffer.from(JSON.stringify(document))
  await blobs.put(bytes, digestOf(bytes))
  // As a node does with every manifest that it comes to hold, which makes its copy.
  await blobs.bytes(digestOf(bytes), MAX_MANIFEST_BYTES)
  return { digest: digestOf(bytes), sizeBytes: bytes.length }
}

/** Syncing each of 100,000 small files would take minutes, and shows nothing here. */
function unsyncedDisk(): Disk {
  return {
    ...nodeDisk,
    async openFile(path) {
      const file = await nodeDisk.openFile(path)
      return {
        write: (chunks, position) => file.write(chunks, position),
        read: (buffer, position) => file.read(buffer, position),
        stat: () => file.stat(),
        datasync: async () => {},
        close: () => file.close()
      }
    },
    syncDirectory: async () => {}
  }
}
