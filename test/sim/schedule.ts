import { pino } from 'pino'
import type { Digest } from '../../src/digest.ts'
import type { Log } from '../../src/log.ts'
import type { Plant } from './bugs.ts'
import { Client, type Place } from './client.ts'
import { advance, collectAll, converge } from './convergence.ts'
import { type FaultKind, inject, someFaults } from './faults.ts'
import { History } from './history.ts'
import { imageOf, type SimImage } from './images.ts'
import { World } from './machine/world.ts'
import { Promises } from './promises.ts'
import { someSettings } from './settings.ts'
import { Simulation } from './simulation.ts'

/** What became of one schedule. */
export interface Result {
  readonly seed: number
  /** The promise that was broken first, in words. */
  readonly broken: string | undefined
  /** Changes that clients asked for, and those of them that were acknowledged. */
  readonly changes: number
  readonly acknowledged: number
  readonly tasks: number
  /** In virtual time. */
  readonly seconds: number
}

export interface ScheduleOptions {
  /** A bug to be planted in every node. */
  readonly plant?: Plant
  /** Which faults there are; the seed decides if not given. */
  readonly faults?: readonly FaultKind[]
  /** Told of all that happens. */
  readonly trace?: (line: string) => void
}

/** How long faults go on, and about how often something happens. */
const STORM_MS = [3_000, 12_000] as const
const FAULT_EVERY_MS = 1_200
const REQUEST_EVERY_MS = 250
/** Of the schedules, the share that waits for the last collection. */
const COLLECTED_SHARE = 0.3

/**
 * One random schedule: clients at work on a cluster while faults come and go, then quiet; every
 * promise is looked at all along. The seed decides everything.
 */
export async function runSchedule(seed: number, options: ScheduleOptions = {}): Promise<Result> {
  const world = new World(seed)
  const trace = options.trace && stamped(world, options.trace)
  const simulation = new Simulation({
    ...{ world, settings: someSettings(world), plant: options.plant },
    ...(trace && { logOf: ({ name }) => tracedLog(name, trace) })
  })
  const history = new History()
  const promises = new Promises(simulation, history)
  const faults = options.faults ?? someFaults(world)
  const work = new Work(simulation, history, promises, trace)
  for (const host of simulation.hosts) simulation.start(host)
  await advance(simulation, promises, world.between(0, 4_000))
  await storm(simulation, promises, faults, work)
  if (promises.broken === undefined) await converge(simulation, history, promises)
  if (promises.broken === undefined && world.chance(COLLECTED_SHARE)) {
    await collectAll(simulation, promises)
  }
  for (const node of simulation.nodes) node.uproot?.()
  const isAcknowledged = history.changes.filter(({ outcome }) => outcome === 'acknowledged')
  return {
    ...{ seed, broken: promises.broken, changes: history.changes.length, tasks: world.tasks },
    ...{ acknowledged: isAcknowledged.length, seconds: world.nowMs / 1_000 }
  }
}

async function storm(
  simulation: Simulation,
  promises: Promises,
  faults: readonly FaultKind[],
  work: Work
): Promise<void> {
  const { world } = simulation
  const endMs = world.nowMs + world.between(...STORM_MS)
  let faultAtMs = world.nowMs
  while (world.nowMs < endMs && promises.broken === undefined) {
    work.request()
    if (faults.length > 0 && world.nowMs >= faultAtMs) {
      work.trace(`fault: ${inject(simulation, world.pick(faults))}`)
      faultAtMs = world.nowMs + world.between(0, 2 * FAULT_EVERY_MS)
    }
    await advance(simulation, promises, world.between(0, 2 * REQUEST_EVERY_MS))
  }
}

function stamped(world: World, trace: (line: string) => void): (line: string) => void {
  return line => trace(`${(world.nowMs / 1_000).toFixed(3)} ${line}`)
}

/** What the nodes themselves log, among what happens to them. */
function tracedLog(name: string, trace: (line: string) => void): Log {
  const options = { level: 'info', base: {}, timestamp: false }
  return pino(options, { write: line => trace(`${name}: ${line.trimEnd()}`) })
}

/** Clients that push, move and delete a few tags of a few repositories, on any node. */
class Work {
  readonly trace: (line: string) => void
  readonly #simulation: Simulation
  readonly #client: Client
  readonly #images = new Map<Digest, SimImage>()
  /** Of two pushes of one image at once nobody could tell which record is whose. */
  readonly #pushing = new Set<SimImage>()

  constructor(
    simulation: Simulation,
    history: History,
    promises: Promises,
    trace: (line: string) => void = () => undefined
  ) {
    this.#simulation = simulation
    this.#client = new Client(simulation, history, promises)
    this.trace = trace
  }

  /** Asks some node for something. */
  request(): void {
    const { world, nodes } = this.#simulation
    const node = nodes.length > 0 ? world.pick(nodes) : undefined
    if (node === undefined || node.host.paused) return
    const place: Place = { repository: world.pick(['app', 'lib']), tag: world.pick(['v1', 'v2']) }
    const kind = world.pick(['push', 'push', 'push', 'read', 'read', 'untag', 'unlink'] as const)
    const what = `${kind} ${place.repository}:${place.tag} on ${node.host.name}`
    const image = kind === 'push' ? this.#image() : undefined
    const run = async () => {
      this.trace(`${what}${image ? ` ${image.name} ${image.digest.slice(7, 15)}` : ''}`)
      if (image !== undefined) {
        this.#pushing.add(image)
        const { outcome } = await this.#client.push(node, place, image)
        this.#pushing.delete(image)
        this.trace(`${what} ${image.name}: ${outcome}`)
      } else if (kind === 'read') await this.#client.read(node, place)
      else if (kind === 'untag') await this.#client.untag(node, place, this.#images)
      else await this.#client.unlink(node, place, this.#images)
    }
    world.after(0, node.host, () => void run().catch(error => world.failures.push(error)))
  }

  /** Mostly a new one, of layers that others have too; now and then one from before. */
  #image(): SimImage {
    const { world } = this.#simulation
    const before = [...this.#images.values()].filter(image => !this.#pushing.has(image))
    if (before.length > 0 && world.chance(0.2)) return world.pick(before)
    const layers = ['a', 'b', 'c', 'd', 'e', 'f'].filter(() => world.chance(0.3))
    const image = imageOf(`image-${this.#images.size + 1}`, layers)
    this.#images.set(image.digest, image)
    return image
  }
}
