/**
 * Proves P6 under load: clients push, retag and delete without a pause while collection runs again
 * and again with a short grace. No push may fail for a blob that was taken from under it, nothing
 * may be half or wrong, and in the end each disk holds what is live and no more. Prints one JSON
 * object; exits 1 when any of that fails.
 */
import { parseArgs } from 'node:util'
import { imageOf, makeBlob } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { until } from '../helpers/until.ts'
import { check } from '../history/checker.ts'
import { push } from '../history/client.ts'
import { settled } from '../history/nemesis.ts'
import type { History } from '../history/operation.ts'
import { record } from '../history/record.ts'

const MAIN = `${import.meta.dirname}/../../src/main.ts`
const GRACE = '1s'
const LEASE = '10s'
/** The grace and the lease are over, and every collection that had to wait for them has run. */
const RETURN_LIMIT_MS = 120_000

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '300' } } })
const figures = await measure(Number(values.seconds) * 1000)
console.log(JSON.stringify(figures))
process.exitCode = figures.broken === 0 ? 0 : 1

async function measure(durationMs: number) {
  const { cluster, nodes } = await Cluster.start(3, {
    flags: ['--gc-grace', GRACE, '--lease', LEASE]
  })
  try {
    const over = new AbortController()
    const collecting = collectUntil(nodes, over.signal)
    const history = await record({
      ...{ cluster, nodes: [...nodes], faults: [], seed: 1, durationMs }
    }).finally(() => over.abort())
    const collections = await collecting
    const peakBytes = Math.max(...(await Promise.all(nodes.map(heldBytes))))
    const liveBytes = await leaveOne(nodes as [Daemon, ...Daemon[]], history)
    await until(async () => (await Promise.all(nodes.map(heldBytes))).every(b => b === liveBytes), {
      ...{ what: 'the disks to hold what is live and no more', timeoutMs: RETURN_LIMIT_MS },
      intervalMs: 1_000
    })
    const violations = check(history)
    for (const violation of violations) console.error(violation)
    const pushes = history.operations.filter(({ action }) => action.kind === 'push').length
    return {
      ...{ prove: 'collection', durationMs, operations: history.operations.length, pushes },
      ...{ collections, broken: violations.length, peakBytes, liveBytes }
    }
  } finally {
    await cluster.close()
  }
}

/** Runs `gc` on one node after the other until the signal comes; gives how often. */
async function collectUntil(nodes: readonly Daemon[], signal: AbortSignal): Promise<number> {
  for (let count = 0; ; count++) {
    const node = nodes[count % nodes.length]
    if (signal.aborted || node === undefined) return count
    await run(process.execPath, [MAIN, 'gc', '--now', '--data', node.options.dataDir])
  }
}

/** Deletes every image that was pushed, and pushes one; gives the bytes that are live from then on. */
async function leaveOne(
  nodes: readonly [Daemon, ...Daemon[]],
  { operations }: History
): Promise<number> {
  const { registry } = nodes[0].addresses
  for (const { action } of operations) {
    if (action.kind !== 'push' || action.outcome === 'refused') continue
    // By digest, since an image that only lost its tag lives on.
    const url = `http://${registry}/v2/history/app/manifests/${action.digest}`
    const { status } = await fetch(url, { method: 'DELETE' })
    if (status !== 202 && status !== 404) throw new Error(`a delete was answered ${status}`)
  }
  const image = imageOf([makeBlob(1_000, Buffer.from('the last'))])
  const { outcome } = await push(registry, 'history/last', 'last', image)
  if (outcome !== 'done') throw new Error(`the last push was ${outcome}`)
  await Promise.all(nodes.map(node => settled(node, nodes.length - 1)))
  return image.sizeBytes
}

async function heldBytes(node: Daemon): Promise<number> {
  return (await node.status()).blobs.bytesHeld
}
