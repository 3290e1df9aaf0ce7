import type { Digest } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import type { Log } from '../../src/log.ts'
import { silentLog } from '../../src/log.ts'
import type { Plant } from './bugs.ts'
import { Disk } from './machine/disk.ts'
import type { Host, World } from './machine/world.ts'
import { SimNode } from './node.ts'
import type { Settings } from './settings.ts'
import { Network } from './twins/network.ts'

/** How a process ends: killed, with all that it wrote kept by the system, or with the power. */
export type Crash = 'kill' | 'power'

interface Machine {
  readonly host: Host
  id: string
  node: SimNode | undefined
}

/** Where every node looks for the others: a name that stands for all machines. */
const JOIN = 'dns:starling:5052'

/** How soon a process is started again that could not start. */
const RESTART_MS = 1_000

/** A simulated cluster, and all that can be done to it. */
export class Simulation {
  readonly world: World
  readonly network: Network
  readonly settings: Settings
  /** Since when every link is whole and every process runs. */
  quietSinceMs = 0
  /** Told of each process that has been opened, before it starts. */
  onOpened: (node: SimNode) => Promise<void> = async () => undefined
  /** Told before a disk is replaced, or a blob on it damaged. */
  onLoss: (host: Host, digest?: Digest) => void = () => undefined
  readonly #machines: Machine[] = []
  readonly #plant: Plant | undefined
  readonly #logOf: (host: Host) => Log
  /** Until then a machine does not find the others by their name. */
  readonly #discoveryAtMs = new Map<Host, number>()
  #names = 0

  constructor(options: {
    readonly world: World
    readonly settings: Settings
    readonly plant?: Plant | undefined
    readonly logOf?: (host: Host) => Log
  }) {
    this.world = options.world
    this.settings = options.settings
    this.#plant = options.plant
    this.#logOf = options.logOf ?? (() => silentLog)
    this.network = new Network(options.world)
    for (let number = 1; number <= options.settings.nodes; number++) this.addMachine()
  }

  get hosts(): readonly Host[] {
    return this.#machines.map(({ host }) => host)
  }

  /** The processes that run, paused or not. */
  get nodes(): readonly SimNode[] {
    return this.#machines.flatMap(({ host, node }) => (host.running && node ? [node] : []))
  }

  nodeOf(host: Host): SimNode | undefined {
    return host.running ? this.#machine(host).node : undefined
  }

  nodeById(id: string): SimNode | undefined {
    return this.nodes.find(({ mesh }) => mesh.id === id)
  }

  /** A machine more, with an empty disk; nothing runs on it yet. */
  addMachine(): Host {
    const number = this.#machines.length + 1
    const host: Host = {
      ...{ name: `n${number}`, address: `10.0.0.${number}:5052`, disk: this.#newDisk() },
      ...{ epoch: 0, running: false, paused: false, deferred: [], skewMs: 0, bootedAtMs: 0 }
    }
    host.disk.onPowerCut = () => this.crash(host, 'power')
    this.#machines.push({ host, id: this.#newId(host), node: undefined })
    return host
  }

  /** Starts a process, which may take its time, or fail over what is on its disk. */
  start(host: Host, { discoveryAfterMs = 0 } = {}): void {
    const machine = this.#machine(host)
    if (host.running) return
    host.epoch += 1
    host.running = true
    host.bootedAtMs = this.world.nowMs
    host.disk.faults = { ...host.disk.faults, refuses: undefined }
    this.#discoveryAtMs.set(host, this.world.nowMs + discoveryAfterMs)
    this.quietSinceMs = Number.POSITIVE_INFINITY
    this.world.after(0, host, () => {
      this.#open(machine).catch(error => this.#failed(host, error))
    })
  }

  crash(host: Host, how: Crash): void {
    if (!host.running) return
    const machine = this.#machine(host)
    if (how === 'kill') machine.node?.mesh.hangUp()
    host.running = false
    host.paused = false
    host.deferred.length = 0
    host.epoch += 1
    host.disk.powerCutAfter = undefined
    machine.node = undefined
    if (how === 'power') host.disk.losePower()
    this.disturbed()
  }

  /** Puts an empty disk into a machine that is down; whatever runs there next is another node. */
  wipe(host: Host): void {
    this.onLoss(host)
    host.disk.clear()
    this.#machine(host).id = this.#newId(host)
  }

  /** Turns over a bit of some blob of a host. */
  rot(host: Host): void {
    const held = [...host.disk.blobs.keys()]
    if (held.length === 0) return
    const digest = this.world.pick(held)
    this.onLoss(host, digest)
    host.disk.rot(digest)
  }

  pause(host: Host): void {
    if (!host.running) return
    host.paused = true
    this.disturbed()
  }

  resume(host: Host): void {
    this.world.resume(host)
  }

  cut(from: Host, to: Host): void {
    this.network.cut(from, to)
    this.disturbed()
  }

  /** Ends every fault that can be ended from outside, and starts what is down. */
  heal(): void {
    for (const from of this.hosts) {
      from.disk.faults = { refuses: undefined, syncMs: 5 }
      from.disk.powerCutAfter = undefined
      for (const to of this.hosts) this.network.heal(from, to)
      this.resume(from)
      this.start(from)
    }
    this.network.faults = { ...this.network.faults, gossipLoss: 0 }
  }

  /** Something is not as it should be; {@link Simulation.noticeQuiet} says when all is again. */
  disturbed(): void {
    this.quietSinceMs = Number.POSITIVE_INFINITY
  }

  noticeQuiet(): void {
    const isUp = this.#machines.every(
      ({ host, node }) => host.running && !host.paused && node !== undefined
    )
    const isWhole = this.hosts.every(from => this.hosts.every(to => !this.network.isCut(from, to)))
    if (!isUp || !isWhole) this.quietSinceMs = Number.POSITIVE_INFINITY
    else this.quietSinceMs = Math.min(this.quietSinceMs, this.world.nowMs)
  }

  async #open(machine: Machine): Promise<void> {
    const { host, id } = machine
    const { world, network, settings } = this
    const node = await SimNode.open({
      ...{ world, host, network, settings, id, boot: this.#name('boot'), log: this.#logOf(host) },
      join: [JOIN],
      resolve: () => this.#resolve(host),
      plant: this.#plant
    })
    machine.node = node
    await this.onOpened(node)
    await node.start()
  }

  /** A process that cannot start for its disk ends, and whoever watches over it starts another. */
  #failed(host: Host, error: unknown): void {
    if (!isCode(error, 'DISK_FAILED') && !isCode(error, 'DISK_FULL')) {
      this.world.failures.push(error)
      return
    }
    this.crash(host, 'kill')
    this.world.after(RESTART_MS, undefined, () => this.start(host))
  }

  async #resolve(host: Host): Promise<readonly string[]> {
    if (this.world.nowMs < (this.#discoveryAtMs.get(host) ?? 0)) throw new Error('no such name')
    return this.hosts.map(({ address }) => address.split(':')[0] ?? '')
  }

  #newDisk(): Disk {
    return new Disk(this.world)
  }

  #newId(host: Host): string {
    return this.#name(`${host.name}-id`)
  }

  #name(prefix: string): string {
    this.#names += 1
    return `${prefix}${this.#names}`
  }

  #machine(host: Host): Machine {
    const machine = this.#machines.find(each => each.host === host)
    if (machine === undefined) throw new RangeError(`no machine ${host.name}`)
    return machine
  }
}
