import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { DiskWatch } from './disk-space.ts'

/** Layers are seldom larger; a push of unknown length that gets longer than there is room is refused. */
const LARGE_LAYER_BYTES = 10 * 1024 ** 3

export interface RoomOptions {
  readonly mesh: Pick<Mesh, 'peers'>
  readonly disk: Pick<DiskWatch, 'freeBytes' | 'pushedBytes'>
  /** K' of design section 1: on how many members a push must come to be. */
  readonly wantedCopies: () => number
}

/**
 * Where there is room for what is pushed. A push is admitted by the K'-th largest free space of the
 * live members (design section 6): one node without room stops no push that K' others can keep, and
 * one node with room takes none that would stay without its copies.
 */
export class Room {
  readonly #options: RoomOptions

  constructor(options: RoomOptions) {
    this.#options = options
  }

  /** What this node itself could still keep. */
  hereBytes(): number {
    return this.#options.disk.freeBytes()
  }

  /** The largest push that the cluster can keep in as many copies as were asked for. */
  clusterBytes(): number {
    const others = this.#takers().map(peer => this.#freeOf(peer))
    const sorted = [this.hereBytes(), ...others].sort((a, b) => b - a)
    return sorted[this.wantedMembers() - 1] ?? 0
  }

  /** On how many live members a push needs room; that too few are live is another question. */
  wantedMembers(): number {
    return Math.min(this.#options.wantedCopies(), this.#takers().length + 1)
  }

  /** How many live members could keep so many bytes. */
  membersFor(bytes: number): number {
    const others = this.#takers().filter(peer => this.#freeOf(peer) >= bytes)
    return others.length + (this.hereBytes() >= bytes ? 1 : 0)
  }

  /**
   * Whether another node should take a push, so that this one only passes it on: it does not fit
   * here, or nobody knows how long it is and another node has much more room for a long one.
   */
  isBetterElsewhere(bytes: number | undefined): boolean {
    const hereBytes = this.hereBytes()
    const mostBytes = Math.max(
      0,
      // An older version takes no pushes that others pass on, and does not say how much it has.
      ...this.#takers()
        .filter(({ transfer, beat }) => transfer !== undefined && beat?.freeBytes !== undefined)
        .map(peer => this.#freeOf(peer))
    )
    if (isRoomy(hereBytes, mostBytes, bytes)) return false
    return bytes === undefined || mostBytes >= bytes
  }

  #takers(): PeerView[] {
    return this.#options.mesh
      .peers()
      .filter(({ state, hold }) => state === 'live' && hold === 'all')
  }

  /**
   * Its heartbeat does not know yet of what is coming in here and will be copied there. Of an older
   * version, which does not say how much it has, it is only known whether it takes anything; and of
   * one that was met a moment ago nothing, which is no reason to refuse a push.
   */
  #freeOf({ beat }: PeerView): number {
    if (beat === undefined) return Number.POSITIVE_INFINITY
    if (beat.disk === 'failed') return 0
    const freeBytes = beat.freeBytes ?? (beat.disk === 'ok' ? Number.POSITIVE_INFINITY : 0)
    return Math.max(0, freeBytes - this.#options.disk.pushedBytes())
  }
}

/**
 * Whether a node with so much room should take a push of so many bytes; one of unknown length should
 * go where a long layer fits, or at least not where another node has twice the room.
 *
 * @param mostBytes what the node with the most room has
 */
export function isRoomy(freeBytes: number, mostBytes: number, bytes: number | undefined): boolean {
  if (bytes !== undefined) return freeBytes >= bytes
  return freeBytes >= LARGE_LAYER_BYTES || mostBytes <= 2 * freeBytes
}
