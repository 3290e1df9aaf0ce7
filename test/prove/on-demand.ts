/**
 * Proves that who waits comes first: a node that has just joined copies two large blobs through a
 * link of 200 Mbit/s, and a client pulls one of them from it. The first byte must come within 1 s,
 * and the rest at 70 % of the link or more. Prints one JSON object; exits 1 when that fails. Needs
 * root.
 */
import { createHash } from 'node:crypto'
import { parseArgs } from 'node:util'
import { type Digest, finishDigest } from '../../src/digest.ts'
import { Cluster, placeIn } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { Namespaces } from '../helpers/namespaces.ts'
import { largeContent, RegistryClient } from '../helpers/registry.ts'

const MIB = 1024 * 1024
const NODES = 3
const LINK_BITS_PER_SECOND = 200_000_000
const MAX_FIRST_BYTE_SECONDS = 1
const MIN_LINK_SHARE = 0.7
const REPOSITORY = 'prove/demand'

const { values } = parseArgs({ options: { mebibytes: { type: 'string', default: '1024' } } })
const sizeBytes = Number(values.mebibytes) * MIB
const namespaces = await Namespaces.open(NODES)
try {
  const figures = await measure()
  console.log(JSON.stringify(figures))
  const { firstByteSeconds, linkShare, othersBytes } = figures
  const isPrompt = firstByteSeconds < MAX_FIRST_BYTE_SECONDS && linkShare >= MIN_LINK_SHARE
  process.exitCode = isPrompt && othersBytes > 0 ? 0 : 1
} finally {
  await namespaces.close()
}

async function measure() {
  const { cluster, nodes } = await Cluster.start(NODES - 1, { namespaces })
  try {
    const [first] = nodes as [Daemon, ...Daemon[]]
    const client = new RegistryClient(first.addresses.registry)
    const digests: Digest[] = []
    for (const seed of [1, 2]) {
      const digest = await client.pushBlob(REPOSITORY, largeContent(sizeBytes, seed))
      await client.tagBlob(REPOSITORY, `v${seed}`, { digest, sizeBytes })
      digests.push(digest)
    }
    client.close()
    for (const index of [0, 1, 2]) await namespaces.shape(index, LINK_BITS_PER_SECOND)
    const join = [first.addresses.mesh]
    const place = placeIn(namespaces, NODES - 1)
    const joiner = await cluster.node(`node-${NODES}`, { join, ...place })
    await joiner.statusWhere('to have begun to copy', ({ transfers }) =>
      transfers.some(({ done }) => done > 0)
    )
    const wanted = digests[1] as Digest
    const pulled = await pull(joiner, wanted)
    const { transfers, blobs } = await joiner.status()
    const others = transfers.filter(({ digest }) => digest !== wanted)
    const othersBytes = others.reduce((sum, { done }) => sum + done, blobs.bytesHeld - sizeBytes)
    return { prove: 'on-demand', sizeBytes, ...pulled, othersBytes }
  } finally {
    await cluster.close()
  }
}

async function pull(node: Daemon, digest: Digest) {
  const begunMs = performance.now()
  const seconds = () => Math.round(performance.now() - begunMs) / 1000
  const response = await fetch(`http://${node.addresses.registry}/v2/${REPOSITORY}/blobs/${digest}`)
  if (response.body === null) throw new Error(`the pull was answered ${response.status}`)
  let firstByteSeconds: number | undefined
  const hash = createHash('sha256')
  for await (const chunk of response.body) {
    firstByteSeconds ??= seconds()
    hash.update(chunk)
  }
  if (finishDigest('sha256', hash) !== digest) throw new Error('the pull gave other bytes')
  const pullSeconds = seconds()
  const linkShare = (sizeBytes * 8) / pullSeconds / LINK_BITS_PER_SECOND
  return {
    ...{ firstByteSeconds: firstByteSeconds ?? pullSeconds, pullSeconds },
    linkShare: Math.round(linkShare * 1000) / 1000
  }
}
