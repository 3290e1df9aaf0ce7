import type { History } from './history.ts'
import type { Promises } from './promises.ts'
import type { Simulation } from './simulation.ts'

/** Beyond the slowest of all that goes on by itself: back-offs of 30 s, a lease and its release. */
const MAX_SETTLE_MS = 150_000
const LOOK_MS = 1_000

/** Ends all faults and waits until every node agrees with all others and lacks nothing. */
export async function converge(
  simulation: Simulation,
  history: History,
  promises: Promises
): Promise<void> {
  simulation.heal()
  const { world } = simulation
  const endMs = world.nowMs + MAX_SETTLE_MS
  let left: string | undefined
  while (world.nowMs < endMs) {
    await advance(simulation, promises, LOOK_MS)
    if (promises.broken !== undefined) return
    left = unsettled(simulation)
    if (left === undefined) break
  }
  if (left !== undefined) return promises.breaks(`no convergence: ${left}`)
  await compare(simulation, history, promises)
}

/** Lets time pass, with an eye on the promises after each step. */
export async function advance(
  simulation: Simulation,
  promises: Promises,
  ms: number
): Promise<void> {
  const { world } = simulation
  simulation.noticeQuiet()
  await world.run(world.nowMs + ms, host => {
    const node = host && simulation.nodeOf(host)
    if (node !== undefined) promises.step(node)
    const [failure] = world.failures
    if (failure !== undefined) promises.breaks(`unexpected: ${inWords(failure)}`)
    return promises.broken !== undefined
  })
}

/** Waits until nothing that nobody needs is on any disk, or says what is (P6). */
export async function collectAll(simulation: Simulation, promises: Promises): Promise<void> {
  const { world, settings } = simulation
  const endMs = world.nowMs + 3 * settings.leaseMs + 4 * settings.graceMs
  let left: string | undefined
  do {
    await advance(simulation, promises, LOOK_MS)
    if (promises.broken !== undefined) return
    left = uncollected(simulation)
    if (left === undefined) return
  } while (world.nowMs < endMs)
  promises.breaks(`P6: ${left}`)
}

function unsettled({ hosts, nodes }: Simulation): string | undefined {
  if (nodes.length < hosts.length) return 'a node has not opened'
  const roots = new Set(nodes.map(({ records }) => records.root().hash))
  if (roots.size > 1) return `the nodes have ${roots.size} different roots`
  for (const { host, cluster, inventory, records } of nodes) {
    const { ready, reason } = cluster.readiness()
    if (!ready) return `${host.name} is not ready: ${reason}`
    if (inventory.caughtUp().sequence !== records.sequence())
      return `${host.name} is working in records`
    const missing = [...inventory.missing().keys()]
    // What no disk has sound any more is lost; whether it may be is looked at apart.
    const some = missing.find(digest => hosts.some(({ disk }) => disk.hasSound(digest)))
    if (some !== undefined)
      return `${host.name} lacks ${some.slice(7, 15)} and ${missing.length - 1} more`
  }
  return undefined
}

/** What all nodes now say against what clients have been told. */
async function compare({ nodes }: Simulation, history: History, promises: Promises): Promise<void> {
  for (const { host, records, blobs } of nodes) {
    for (const { repository, tag } of history.tags()) {
      const digest = (await records.tag(repository, tag))?.digest
      const why = history.contradiction(repository, tag, digest)
      const name = digest?.slice(7, 15) ?? 'nothing'
      if (why !== undefined)
        promises.breaks(`${host.name} has ${repository}:${tag} at ${name}: ${why}`)
    }
    for (const { repository, image } of history.standingImages()) {
      const link = await records.link(repository, image.digest)
      if (link === undefined)
        promises.breaks(`P1: ${host.name} does not know ${repository}@${image.name}`)
      const lacks = [image.digest, ...image.blobs.map(blob => blob.digest)].some(
        digest => blobs.stat(digest) === undefined
      )
      if (lacks) promises.breaks(`P1: ${host.name} lacks blobs of ${repository}@${image.name}`)
    }
    for (const { repository, image } of history.standingDeletes()) {
      const link = await records.link(repository, image.digest)
      if (link !== undefined)
        promises.breaks(`P6: ${repository}@${image.name} is back on ${host.name}`)
    }
  }
}

function uncollected({ nodes }: Simulation): string | undefined {
  for (const { host, blobs, inventory } of nodes) {
    const unneeded = [...blobs.digests()].filter(digest => !inventory.graph.isWanted(digest))
    if (unneeded.length > 0) return `${host.name} keeps ${unneeded.length} blobs that nothing needs`
  }
  return undefined
}

function inWords(failure: unknown): string {
  return failure instanceof Error ? (failure.stack ?? failure.message) : String(failure)
}
