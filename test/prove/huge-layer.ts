/**
 * Proves that a layer of 20 GiB goes into a single node and out of it again, whole, in less than
 * 250 MiB of memory. The bytes are made while they are sent. Prints one JSON object, with `skipped`
 * where the temporary directory has no room for the layer; exits 1 unless the claim was shown.
 */
import { statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { finishDigest, startDigest } from '../../src/digest.ts'
import { Cluster } from '../helpers/cluster.ts'
import { type BlobContent, largeContent, RegistryClient } from '../helpers/registry.ts'

const GIB = 1024 ** 3
const RSS_LIMIT_BYTES = 250 * 1024 ** 2
const REPOSITORY = 'huge/layer'
/** Beside the layer: records, indexes and whatever else uses the disk meanwhile. */
const SPARE_BYTES = GIB

const { values } = parseArgs({ options: { gibibytes: { type: 'string', default: '20' } } })
const sizeBytes = Number(values.gibibytes) * GIB
const { bavail, blocks, bsize } = await statfs(tmpdir())
const freeBytes = bavail * bsize
if (freeBytes < sizeBytes + SPARE_BYTES) {
  const neededBytes = sizeBytes + SPARE_BYTES
  console.error(
    `${tmpdir()} has ${(freeBytes / GIB).toFixed(1)} GiB free, and ${(neededBytes / GIB).toFixed(1)} are needed; set TMPDIR to where there is room, or --gibibytes to less`
  )
  console.log(JSON.stringify({ prove: 'huge-layer', skipped: 'no room', freeBytes, neededBytes }))
  process.exitCode = 1
} else {
  const figures = await measure()
  console.log(JSON.stringify(figures))
  process.exitCode = figures.holds ? 0 : 1
}

async function measure() {
  const cluster = await Cluster.open()
  try {
    // The disk may be fuller than pushes are taken at by default; whether there is room is checked.
    const node = await cluster.node('node-1', { flags: ['--max-disk', '100%'] })
    await node.ready()
    const client = new RegistryClient(node.addresses.registry)
    const hash = startDigest('sha256')
    const startMs = performance.now()
    const content = hashed(largeContent(sizeBytes, 20), bytes => hash.update(bytes))
    const streamed = await client.stream(await client.openPush(REPOSITORY), content)
    const streamedMs = performance.now()
    const digest = finishDigest('sha256', hash)
    await client.closePush(streamed, digest)
    const pushedMs = performance.now()
    await client.tagBlob(REPOSITORY, 'huge', { digest, sizeBytes })
    const pushPeakRssBytes = await node.peakRssBytes()
    const pullMs = performance.now()
    const pulled = await client.pulledDigest(REPOSITORY, digest)
    const pulledMs = performance.now()
    client.close()
    const peakRssBytes = await node.peakRssBytes()
    return {
      ...{ prove: 'huge-layer', sizeBytes, diskBytes: blocks * bsize },
      streamSeconds: (streamedMs - startMs) / 1000,
      closeSeconds: (pushedMs - streamedMs) / 1000,
      pullSeconds: (pulledMs - pullMs) / 1000,
      pullIsWhole: pulled === digest,
      ...{ pushPeakRssBytes, peakRssBytes, limitBytes: RSS_LIMIT_BYTES },
      holds: pulled === digest && peakRssBytes < RSS_LIMIT_BYTES
    }
  } finally {
    await cluster.close()
  }
}

/** The same content, seen by whoever wants to know what was sent. */
function hashed(content: BlobContent, see: (bytes: Uint8Array) => void): BlobContent {
  return {
    sizeBytes: content.sizeBytes,
    *chunks(startBytes) {
      for (const chunk of content.chunks(startBytes)) {
        see(chunk)
        yield chunk
      }
    }
  }
}
