import type { Host, World } from './machine/world.ts'
import type { Simulation } from './simulation.ts'

export type FaultKind = keyof typeof FAULTS

/** Kinds of faults for one schedule: few at a time find more than all at once. */
export function someFaults(world: World): readonly FaultKind[] {
  const share = world.pick([0, 0.15, 0.3, 0.5])
  return KINDS.filter(() => world.chance(share))
}

/** Lets a fault of a kind happen somewhere; it ends by itself, or with the storm. Says what it was. */
export function inject(simulation: Simulation, kind: FaultKind): string {
  return `${kind} ${FAULTS[kind](simulation)}`
}

/** Most faults end after so long, some before a member counts as dead and some long after. */
const SHORT_MS = [100, 8_000] as const

const FAULTS = {
  /** A process dies, and is started again. */
  kill: simulation => {
    const host = some(simulation)
    simulation.crash(host, 'kill')
    return startLater(simulation, host)
  },
  power: simulation => {
    const host = some(simulation)
    simulation.crash(host, 'power')
    return startLater(simulation, host)
  },
  /** The power goes right in the middle of writing something. */
  'power-in-write': simulation => {
    const host = some(simulation)
    host.disk.powerCutAfter = Math.floor(simulation.world.between(0, 12))
    return startLater(simulation, host)
  },
  'power-everywhere': simulation => {
    for (const host of simulation.hosts) {
      simulation.crash(host, 'power')
      startLater(simulation, host)
    }
    return 'all'
  },
  /** SIGSTOP, and SIGCONT after a while. */
  pause: simulation => {
    const host = some(simulation)
    simulation.pause(host)
    later(simulation, () => simulation.resume(host))
    return host.name
  },
  /** Both ways, or only one. */
  cut: simulation => {
    const [from, to] = [some(simulation), some(simulation)]
    const isOneWay = simulation.world.chance(0.5)
    if (from === to) return 'nothing'
    simulation.cut(from, to)
    if (!isOneWay) simulation.cut(to, from)
    later(simulation, () => {
      simulation.network.heal(from, to)
      simulation.network.heal(to, from)
    })
    return `${from.name} ${to.name} ${isOneWay ? 'one way' : ''}`
  },
  /** Two groups that do not hear each other. */
  split: simulation => {
    const { world, hosts } = simulation
    const left = hosts.filter(() => world.chance(0.5))
    const right = hosts.filter(host => !left.includes(host))
    const each = (act: (a: Host, b: Host) => void) => {
      for (const a of left) for (const b of right) act(a, b)
    }
    each((a, b) => simulation.cut(a, b))
    each((a, b) => simulation.cut(b, a))
    later(simulation, () => {
      each((a, b) => simulation.network.heal(a, b))
      each((a, b) => simulation.network.heal(b, a))
    })
    return left.map(({ name }) => name).join('+')
  },
  /** A connection breaks, and nothing else does. */
  reset: simulation => {
    const node = simulation.world.pick([undefined, ...simulation.nodes])
    const peer = node?.mesh.peers()[0]
    if (node === undefined || peer === undefined) return 'nothing'
    simulation.world.after(0, node.host, () => node.mesh.reset(peer.id))
    return node.host.name
  },
  'slow-network': ({ network, world }) => {
    const jitterMs = world.pick([2, 20, 200])
    network.faults = { ...network.faults, latencyMs: world.pick([0.2, 5, 50]), jitterMs }
    return String(jitterMs)
  },
  'gossip-loss': ({ network, world }) => {
    network.faults = { ...network.faults, gossipLoss: world.pick([0, 0.2, 1]) }
    return String(network.faults.gossipLoss)
  },
  /** A disk that is slow, full or broken for a while. */
  disk: simulation => {
    const { world } = simulation
    const host = some(simulation)
    host.disk.faults = {
      refuses: world.pick([undefined, 'ENOSPC', 'EIO'] as const),
      syncMs: world.pick([5, 300])
    }
    later(simulation, () => {
      host.disk.faults = { refuses: undefined, syncMs: 5 }
    })
    return `${host.name} ${host.disk.faults.refuses ?? 'slow'}`
  },
  /** The wall clock jumps, forth or back, by a little or by years. */
  clock: simulation => {
    const host = some(simulation)
    host.skewMs = simulation.world.pick([-1.7e12, -3.6e6, -5_000, 0, 5_000, 3.6e6, 4.5e11])
    return `${host.name} ${host.skewMs}`
  },
  /** A machine loses its disk, and joins with an empty one. */
  wipe: simulation => {
    const host = some(simulation)
    simulation.crash(host, 'kill')
    simulation.wipe(host)
    return startLater(simulation, host)
  },
  /** A bit turns over on a disk. */
  rot: simulation => {
    const host = some(simulation)
    simulation.rot(host)
    return host.name
  }
} satisfies Record<string, (simulation: Simulation) => string>

const KINDS = Object.keys(FAULTS) as FaultKind[]

function some({ world, hosts }: Simulation): Host {
  return world.pick(hosts)
}

function later({ world }: Simulation, act: () => void): void {
  world.after(world.between(...SHORT_MS), undefined, act)
}

function startLater(simulation: Simulation, host: Host): string {
  later(simulation, () => simulation.start(host))
  return host.name
}
