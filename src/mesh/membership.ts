import type { Beat } from './beat.ts'
import { freshness, type Life, superseded } from './life.ts'
import { MAX_MEMBER_ADDRESSES, type MemberInfo } from './member.ts'
import { aged, type GoneReason, type Standing } from './standing.ts'
import { noTwin, observeTwin, type Twin } from './twin.ts'

/**
 * Who is a member and who of them is live: design, sections 1 and 5. Everything here is pure; times
 * are milliseconds of a monotonic clock. Silence is not the distance between two clock readings but
 * what adds up tick by tick while this node runs: a node that was stopped for an hour has not heard
 * an hour of silence.
 */
export interface Membership {
  readonly self: Self
  readonly limits: MembershipLimits
  /** All known members but this node, by id, those that are gone included. */
  readonly members: ReadonlyMap<string, Member>
  readonly tickedAtMs: number | undefined
  readonly twin: Twin
}

export interface Self extends Life {
  readonly id: string
  readonly name: string
}

export interface MembershipLimits {
  readonly deadAfterMs: number
  readonly forgetAfterMs: number
}

export interface Member {
  readonly info: MemberInfo
  readonly standing: Standing
  /** The process that spoke last under this id. */
  readonly life: Life | undefined
  /** Boots that this id left behind: what is still relayed of them is no sign of life. */
  readonly pastBoots: readonly string[]
  /** The last sign of another process under this id, a past or a second one; told to its neighbours. */
  readonly rival: Life | undefined
  readonly beat: Beat | undefined
  readonly heardAtMs: number | undefined
}

export type MembershipEvent =
  | { readonly kind: 'tick' }
  /** Member records say that these exist. */
  | { readonly kind: 'learn'; readonly members: readonly MemberInfo[] }
  /** A hello came over an open connection. */
  | { readonly kind: 'hello'; readonly info: MemberInfo; readonly life: Life }
  /** A heartbeat; direct when it came over a connection to the node itself, just now. */
  | { readonly kind: 'beat'; readonly beat: Beat; readonly path: 'direct' | 'relayed' }
  | { readonly kind: 'forget'; readonly id: string }
  /** A neighbour heard another process under our own id. */
  | { readonly kind: 'twin'; readonly life: Life }

export type MembershipEffect =
  | { readonly kind: 'live'; readonly id: string }
  | { readonly kind: 'away'; readonly id: string }
  | { readonly kind: 'gone'; readonly id: string; readonly reason: GoneReason }
  | { readonly kind: 'beat'; readonly id: string }
  /** Another process runs under our id, and we are the one that started later. */
  | { readonly kind: 'duplicate'; readonly boot: string }

export interface Step {
  readonly state: Membership
  readonly effects: readonly MembershipEffect[]
}

export function createMembership(self: Self, limits: MembershipLimits): Membership {
  return { self, limits, members: new Map(), tickedAtMs: undefined, twin: noTwin }
}

/** How often to tick, so that a silence is noticed soon after dead-after. */
export function tickMs({ deadAfterMs }: Pick<MembershipLimits, 'deadAfterMs'>): number {
  return Math.min(500, deadAfterMs / 8)
}

export function step(state: Membership, event: MembershipEvent, nowMs: number): Step {
  switch (event.kind) {
    case 'tick':
      return tick(state, nowMs)
    case 'learn':
      return { state: learn(state, event.members), effects: [] }
    case 'hello':
      return hello(state, event.info, event.life, nowMs)
    case 'beat':
      return beat(state, event.beat, event.path, nowMs)
    case 'forget':
      return forget(state, event.id)
    case 'twin':
      return twin(state, event.life, nowMs)
  }
}

/** The time since the last tick during which this node ran and could have heard others. */
export function passedMs(state: Membership, nowMs: number): number {
  const elapsedMs = Math.max(0, nowMs - (state.tickedAtMs ?? nowMs))
  // A longer gap means that this node slept.
  return Math.min(elapsedMs, 2 * tickMs(state.limits))
}

/** The process other than this boot that was last heard under an id. */
export function rivalOf(state: Membership, id: string, boot: string): Life | undefined {
  const member = state.members.get(id)
  return [member?.life, member?.rival].find(life => life !== undefined && life.boot !== boot)
}

function tick(state: Membership, nowMs: number): Step {
  const elapsedMs = passedMs(state, nowMs)
  const counting = hearsMost(state)
  const effects: MembershipEffect[] = []
  const members = new Map<string, Member>()
  for (const [id, member] of state.members) {
    const standing = aged(member.standing, elapsedMs, counting, state.limits)
    members.set(id, standing === member.standing ? member : { ...member, standing })
    if (standing.kind === 'away' && member.standing.kind === 'live')
      effects.push({ kind: 'away', id })
    if (standing.kind === 'gone' && member.standing.kind !== 'gone') {
      effects.push({ kind: 'gone', id, reason: standing.reason })
    }
  }
  const replaced = replaceByName({ ...state, members, tickedAtMs: nowMs })
  return { state: replaced.state, effects: [...effects, ...replaced.effects] }
}

/**
 * A name belongs to one node: who is away while another id lives under its name is gone. Only after
 * dead-after of silence, so that a member just learnt of is given the time to be heard. This node's
 * own name counts when others are heard: alone it cannot know that the other does not live on.
 */
function replaceByName(state: Membership): Step {
  const taken = new Set<string>()
  let heard = false
  for (const { info, standing } of state.members.values()) {
    if (standing.kind !== 'live') continue
    taken.add(info.name)
    heard = true
  }
  if (heard && hearsMost(state)) taken.add(state.self.name)
  const members = new Map(state.members)
  const effects: MembershipEffect[] = []
  for (const [id, member] of state.members) {
    const { standing, info } = member
    if (standing.kind !== 'away' || standing.silentMs <= state.limits.deadAfterMs) continue
    if (!taken.has(info.name)) continue
    members.set(id, { ...member, standing: { kind: 'gone', reason: 'replaced' } })
    effects.push({ kind: 'gone', id, reason: 'replaced' })
  }
  return effects.length === 0 ? { state, effects } : { state: { ...state, members }, effects }
}

/** Whether this node hears more than half of the members not gone, itself included. */
function hearsMost(state: Membership): boolean {
  const standings = [...state.members.values()].map(member => member.standing.kind)
  const live = standings.filter(kind => kind === 'live').length
  const notGone = standings.filter(kind => kind !== 'gone').length
  return (live + 1) * 2 > notGone + 1
}

function learn(state: Membership, infos: readonly MemberInfo[]): Membership {
  const members = new Map(state.members)
  for (const info of infos) {
    if (info.id === state.self.id) continue
    const known = members.get(info.id)
    if (known?.standing.kind === 'live') {
      // It told us itself who it is, and its record may be older than its last start; or it is heard
      // through others and has moved. So both addresses are tried.
      const mesh = [...new Set([...known.info.mesh, ...info.mesh])].slice(0, MAX_MEMBER_ADDRESSES)
      members.set(info.id, { ...known, info: { ...known.info, mesh } })
      continue
    }
    const standing: Standing =
      known === undefined || known.standing.kind === 'gone'
        ? { kind: 'away', silentMs: 0, absentMs: 0 }
        : known.standing
    members.set(info.id, { ...(known ?? stranger(info)), info, standing })
  }
  return { ...state, members }
}

function hello(state: Membership, info: MemberInfo, life: Life, nowMs: number): Step {
  if (info.id === state.self.id) return { state, effects: [] }
  const known = state.members.get(info.id) ?? stranger(info)
  // A second connection of the same boot knows no sequence: the one already heard stands.
  const met = known.life?.boot === life.boot ? known : withLife(known, life)
  return heard(state, { ...met, info }, known, nowMs, [])
}

function beat(state: Membership, heart: Beat, path: 'direct' | 'relayed', nowMs: number): Step {
  const known = state.members.get(heart.id)
  if (known === undefined) return { state, effects: [] }
  const age = freshness(known.life, known.pastBoots, heart)
  if (path === 'relayed') {
    // A gone member returns in person or by its record: what is still relayed of it must not
    // undo that an operator forgot it.
    if (age !== 'newer' || known.standing.kind === 'gone') {
      return { state: withRival(state, known, heart), effects: [] }
    }
  } else if (age !== 'newer' && known.life?.boot === heart.boot) {
    // Nothing new, but it came from the node itself just now.
    return heard(state, known, known, nowMs, [])
  }
  const member = {
    ...withLife(known, heart),
    beat: heart,
    info: { ...known.info, hold: heart.hold }
  }
  return heard(state, member, known, nowMs, [{ kind: 'beat', id: heart.id }])
}

function heard(
  state: Membership,
  member: Member,
  before: Member,
  nowMs: number,
  effects: readonly MembershipEffect[]
): Step {
  const { id } = member.info
  const next: Member = { ...member, standing: { kind: 'live', silentMs: 0 }, heardAtMs: nowMs }
  const came: readonly MembershipEffect[] =
    before.standing.kind === 'live' ? [] : [{ kind: 'live', id }]
  return {
    state: { ...state, members: new Map(state.members).set(id, next) },
    effects: [...came, ...effects]
  }
}

function forget(state: Membership, id: string): Step {
  const member = state.members.get(id)
  if (member === undefined || member.standing.kind === 'gone') return { state, effects: [] }
  const standing: Standing = { kind: 'gone', reason: 'forgotten' }
  return {
    state: { ...state, members: new Map(state.members).set(id, { ...member, standing }) },
    effects: [{ kind: 'gone', id, reason: 'forgotten' }]
  }
}

function twin(state: Membership, life: Life, nowMs: number): Step {
  const observed = observeTwin(state.twin, state.self, life, nowMs, state.limits)
  return {
    state: { ...state, twin: observed.twin },
    effects: observed.weAreLater ? [{ kind: 'duplicate', boot: life.boot }] : []
  }
}

function withRival(
  state: Membership,
  member: Member,
  { boot, bootedAt, sequence }: Life
): Membership {
  const { life, rival } = member
  if (life === undefined || life.boot === boot) return state
  if (rival?.boot === boot && rival.sequence >= sequence) return state
  const next: Member = { ...member, rival: { boot, bootedAt, sequence } }
  return { ...state, members: new Map(state.members).set(member.info.id, next) }
}

function withLife(member: Member, { boot, bootedAt, sequence }: Life): Member {
  const life = { boot, bootedAt, sequence }
  if (member.life === undefined || member.life.boot === boot) return { ...member, life }
  const pastBoots = superseded(member.pastBoots, member.life.boot, boot)
  return { ...member, life, pastBoots, rival: member.life }
}

function stranger(info: MemberInfo): Member {
  return {
    info,
    standing: { kind: 'away', silentMs: 0, absentMs: 0 },
    life: undefined,
    pastBoots: [],
    rival: undefined,
    beat: undefined,
    heardAtMs: undefined
  }
}
