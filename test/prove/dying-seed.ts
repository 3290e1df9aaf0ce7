/**
 * Proves what becomes of a push whose node dies. Killed when 60 % have streamed in: no other node
 * shows the blob, and the space that it took there returns. Killed right after the answer: every
 * node left ends up holding all. Prints one JSON object; exits 1 when that fails. Needs root.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import type { Digest } from '../../src/digest.ts'
import { partialBytes, verifyBlobFiles } from '../helpers/blob-files.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { Namespaces } from '../helpers/namespaces.ts'
import {
  type BlobContent,
  digestOfContent,
  largeContent,
  RegistryClient
} from '../helpers/registry.ts'
import { until } from '../helpers/until.ts'

const MIB = 1024 * 1024
const NODES = 4
const LINK_BITS_PER_SECOND = 200_000_000
const REPOSITORY = 'prove/dying'
const DIES_AT = 0.6
const RETURN_LIMIT_MS = 120_000

const { values } = parseArgs({ options: { mebibytes: { type: 'string', default: '256' } } })
const sizeBytes = Number(values.mebibytes) * MIB
const namespaces = await Namespaces.open(NODES)
try {
  for (let index = 0; index < NODES; index++) await namespaces.shape(index, LINK_BITS_PER_SECOND)
  const midway = await withCluster(killedMidway)
  const afterAnswer = await withCluster(killedAfterAnswer)
  console.log(JSON.stringify({ prove: 'dying-seed', sizeBytes, midway, afterAnswer }))
  process.exitCode = midway.shown.length === 0 ? 0 : 1
} finally {
  await namespaces.close()
}

async function withCluster<Result>(
  work: (seed: Daemon, others: readonly Daemon[]) => Promise<Result>
): Promise<Result> {
  const { cluster, nodes } = await Cluster.start(NODES, { namespaces })
  try {
    const [seed, ...others] = nodes
    if (seed === undefined) throw new Error('a cluster has at least one node')
    return await work(seed, others)
  } finally {
    await cluster.close()
  }
}

async function killedMidway(seed: Daemon, others: readonly Daemon[]) {
  const whole = largeContent(sizeBytes, 1)
  const digest = digestOfContent(whole)
  const client = new RegistryClient(seed.addresses.registry)
  const pushing = client
    .stream(await client.openPush(REPOSITORY), stoppingAt(whole, DIES_AT))
    .catch(() => undefined)
  await until(async () => (await partialBytes(seed.options.dataDir)) >= DIES_AT * sizeBytes, {
    ...{ what: 'the part of the push to be there', timeoutMs: RETURN_LIMIT_MS }
  })
  await delay(1_000)
  const provisionalBytes = await Promise.all(
    others.map(({ options }) => partialBytes(options.dataDir))
  )
  await seed.kill()
  await pushing
  const killedMs = performance.now()
  const shown: string[] = []
  await until(
    async () => {
      for (const node of others) if (await shows(node, digest)) shown.push(node.name)
      const left = await Promise.all(others.map(({ options }) => partialBytes(options.dataDir)))
      return left.every(bytes => bytes === 0)
    },
    { what: 'the space to return', timeoutMs: RETURN_LIMIT_MS, intervalMs: 500 }
  )
  client.close()
  return { provisionalBytes, shown, returnedMs: Math.round(performance.now() - killedMs) }
}

async function killedAfterAnswer(seed: Daemon, others: readonly Daemon[]) {
  const content = largeContent(sizeBytes, 2)
  const client = new RegistryClient(seed.addresses.registry)
  const digest = await client.pushBlob(REPOSITORY, content)
  await client.tagBlob(REPOSITORY, 'v1', { digest, sizeBytes })
  await seed.kill()
  client.close()
  const killedMs = performance.now()
  for (const node of others) {
    await node.statusWhere(
      'to hold all of it',
      ({ blobs }) => blobs.held === 3 && blobs.missing === 0
    )
    await verifyBlobFiles(node.options.dataDir)
  }
  return { completeMs: Math.round(performance.now() - killedMs) }
}

/** A body that goes quiet after a share of it, as a client whose link does. */
function stoppingAt(content: BlobContent, share: number): BlobContent {
  return {
    sizeBytes: content.sizeBytes,
    *chunks(startBytes) {
      let sent = startBytes
      for (const chunk of content.chunks(startBytes)) {
        if (sent >= share * content.sizeBytes + MIB) return
        yield chunk
        sent += chunk.length
      }
    }
  }
}

async function shows(node: Daemon, digest: Digest): Promise<boolean> {
  const url = `http://${node.addresses.registry}/v2/${REPOSITORY}/blobs/${digest}`
  return (await fetch(url, { method: 'HEAD' })).ok
}
