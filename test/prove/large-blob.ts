/**
 * Proves that memory does not grow with the size of a blob: 5 GiB are made while they are pushed to
 * one of three nodes, and every node ends up holding them. Prints one JSON object, writes it to
 * `results/large-blob.json`, and exits 1 when a node's memory passed the limit. Needs 16 GiB of
 * disk in the temporary directory while it runs.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { verifyBlobFiles } from '../helpers/blob-files.ts'
import { Cluster } from '../helpers/cluster.ts'
import { digestOfContent, largeContent, RegistryClient } from '../helpers/registry.ts'

const MIB = 1024 * 1024
const RSS_LIMIT_BYTES = 250 * MIB
const HOLD_TIMEOUT_MS = 15 * 60_000
const REPOSITORY = 'large/blob'
/** The blob, the config and the manifest. */
const BLOB_COUNT = 3

const { values } = parseArgs({ options: { mebibytes: { type: 'string', default: '5120' } } })
const results = join(import.meta.dirname, '../../results')
const figures = await measure(Number(values.mebibytes) * MIB)
await mkdir(results, { recursive: true })
await writeFile(join(results, 'large-blob.json'), `${JSON.stringify(figures, undefined, 2)}\n`)
console.log(JSON.stringify(figures))
process.exitCode = figures.withinLimit ? 0 : 1

async function measure(sizeBytes: number) {
  const { cluster, nodes } = await Cluster.start(3)
  try {
    const [seed] = nodes
    if (seed === undefined) throw new Error('a cluster has at least one node')
    const content = largeContent(sizeBytes, 5)
    const digest = digestOfContent(content)
    const client = new RegistryClient(seed.addresses.registry)
    const startMs = performance.now()
    await client.pushBlob(REPOSITORY, content, digest)
    const pushedMs = performance.now()
    await client.tagBlob(REPOSITORY, 'five', { digest, sizeBytes })
    client.close()
    for (const node of nodes) {
      await node.statusWhere(
        'to hold the blob',
        ({ blobs }) => blobs.held === BLOB_COUNT && blobs.missing === 0,
        HOLD_TIMEOUT_MS
      )
    }
    const heldMs = performance.now()
    const peakRssBytes: Record<string, number> = {}
    for (const node of nodes) {
      await verifyBlobFiles(node.options.dataDir)
      peakRssBytes[node.name] = await node.peakRssBytes()
    }
    return {
      prove: 'large-blob',
      sizeBytes,
      nodes: nodes.length,
      pushSeconds: (pushedMs - startMs) / 1000,
      heldByAllSeconds: (heldMs - startMs) / 1000,
      peakRssBytes,
      limitBytes: RSS_LIMIT_BYTES,
      withinLimit: Object.values(peakRssBytes).every(bytes => bytes < RSS_LIMIT_BYTES)
    }
  } finally {
    await cluster.close()
  }
}
