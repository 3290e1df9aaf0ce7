import { createHash } from 'node:crypto'

/** Up to this many nodes everyone is everyone's neighbour: the graph below would be nearly that. */
export const FULL_MESH_NODES = 13

/**
 * Rings in the overlay; each gives a node two neighbours. Chosen by `bench simulate --nodes 1000
 * --size 128MiB --rings R`: the last node has it after 1.40 s with 2 rings, 1.29 with 4, 1.24 with
 * 6, and 1.25 with 8, which cost a fifth more messages.
 */
export const RINGS = 6

/** The members of a cluster on their rings. Equal sets of members give equal overlays. */
export interface Overlay {
  readonly members: ReadonlySet<string>
  readonly rings: readonly Ring[]
}

interface Ring {
  readonly order: readonly string[]
  readonly places: ReadonlyMap<string, number>
}

/**
 * The persistent graph on which all blobs travel: the union of rings, on each of which the members
 * are ordered by a hash of ring and id. It needs no tracker and no agreement: whoever knows the
 * same members computes the same graph. It is symmetric, connected (each ring alone is), of degree
 * two per ring less the few links that two rings share, and an expander with high probability; a
 * member that joins or leaves changes three links per ring and no others.
 */
export function overlayOf(ids: Iterable<string>, ringCount = RINGS): Overlay {
  const members = new Set(ids)
  return { members, rings: Array.from({ length: ringCount }, (_, ring) => ringOf(members, ring)) }
}

/** The neighbours of a member, sorted; none for an id that is not a member. */
export function neighboursOf({ members, rings }: Overlay, id: string): readonly string[] {
  if (!members.has(id)) return []
  if (members.size <= FULL_MESH_NODES) return [...members].filter(each => each !== id).sort()
  const neighbours = new Set<string>()
  for (const { order, places } of rings) {
    const place = places.get(id) ?? 0
    for (const step of [1, order.length - 1]) {
      const neighbour = order[(place + step) % order.length]
      if (neighbour !== undefined && neighbour !== id) neighbours.add(neighbour)
    }
  }
  return [...neighbours].sort()
}

function ringOf(members: ReadonlySet<string>, ring: number): Ring {
  const order = [...members]
    .map(id => ({ id, key: keyOf(ring, id) }))
    .sort((a, b) => compare(a.key, b.key) || compare(a.id, b.id))
    .map(({ id }) => id)
  return { order, places: new Map(order.map((id, place) => [id, place])) }
}

/** Eight bytes: among ten thousand members two hardly ever share a key, and then the id decides. */
function keyOf(ring: number, id: string): string {
  return createHash('sha256').update(`${ring}\0${id}`).digest('hex').slice(0, 16)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
