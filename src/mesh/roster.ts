import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Events } from './events.ts'
import type { Life } from './life.ts'
import {
  createMembership,
  type Member,
  type Membership,
  type MembershipEffect,
  type MembershipEvent,
  type MembershipLimits,
  passedMs,
  rivalOf,
  type Self,
  step
} from './membership.ts'
import type { MeshEvents } from './mesh-options.ts'
import type { Neighbours } from './neighbours.ts'
import { type PeerView, viewOf } from './peer-view.ts'

export interface RosterOptions {
  readonly self: Self
  readonly limits: MembershipLimits
  readonly neighbours: Neighbours
  readonly events: Events<MeshEvents>
  readonly clock: Clock
  readonly log: Log
}

/** The membership at this moment: takes events in, logs what changed and tells the listeners. */
export class Roster {
  readonly #options: RosterOptions
  #membership: Membership

  constructor(options: RosterOptions) {
    this.#options = options
    this.#membership = createMembership(options.self, options.limits)
  }

  apply(event: MembershipEvent): void {
    const { state, effects } = step(this.#membership, event, this.#options.clock.monotonic())
    this.#membership = state
    for (const effect of effects) this.#tell(effect)
  }

  /** Lets time pass; gives the milliseconds since the last tick during which this node ran. */
  tick(): number {
    const elapsedMs = passedMs(this.#membership, this.#options.clock.monotonic())
    this.apply({ kind: 'tick' })
    return elapsedMs
  }

  peers(): readonly PeerView[] {
    return [...this.#membership.members.values()].map(member => this.#view(member))
  }

  peer(id: string): PeerView | undefined {
    const member = this.#membership.members.get(id)
    return member === undefined ? undefined : this.#view(member)
  }

  nameOf(id: string): string | undefined {
    return this.#membership.members.get(id)?.info.name
  }

  /** The process other than this boot that was last heard under a member's id. */
  rivalOf(id: string, boot: string): Life | undefined {
    return rivalOf(this.#membership, id, boot)
  }

  /** Addresses of the members that are neither gone nor connected. */
  wanted(): readonly string[] {
    return this.#apart().flatMap(({ info }) => info.mesh)
  }

  /** Whether a member is neither gone nor connected. */
  isApart(): boolean {
    return this.#apart().length > 0
  }

  #apart(): readonly Member[] {
    const { neighbours } = this.#options
    return [...this.#membership.members.values()].filter(
      ({ info, standing }) => standing.kind !== 'gone' && !neighbours.isConnected(info.id)
    )
  }

  #tell(effect: MembershipEffect): void {
    const { events, log, self } = this.#options
    switch (effect.kind) {
      case 'live':
      case 'away':
        log.info({ peer: effect.id, name: this.nameOf(effect.id) }, `peer ${effect.kind}`)
        events.emit(effect.kind, effect.id)
        break
      case 'gone': {
        const { id, reason } = effect
        log.warn({ peer: id, name: this.nameOf(id), reason }, 'peer gone')
        events.emit('gone', id, reason)
        break
      }
      case 'beat': {
        const beat = this.#membership.members.get(effect.id)?.beat
        if (beat !== undefined) events.emit('beat', effect.id, beat)
        break
      }
      case 'duplicate':
        log.error({ id: self.id, otherBoot: effect.boot }, 'another node runs with this id')
        events.emit('duplicate', effect.boot)
    }
  }

  #view(member: Member): PeerView {
    const { neighbours, clock } = this.#options
    const { id } = member.info
    const now = clock.monotonic()
    return viewOf(member, neighbours.isConnected(id), neighbours.pinned(id, now), now)
  }
}
