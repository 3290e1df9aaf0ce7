import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import type { Outcome } from './commits.ts'
import {
  afterLateRecord,
  type Evidence,
  isForgettable,
  isForgettableKind,
  NO_TESTIMONY,
  type Terms,
  type Testimony
} from './horizon.ts'
import type { RecordIndex } from './index.ts'
import type { Heads } from './merge.ts'
import type { Giver } from './plans.ts'
import type { StampedRecord } from './record.ts'
import { MAX_STAMP, type Stamp, ZERO_STAMP } from './stamp.ts'
import { currentValue } from './values.ts'

/** Vouched for by whoever gives it with this: a node in doubt that has judged the record. */
export const JUDGED = MAX_STAMP

/** How the node of an index stands, by the records there and what it journalled of itself. */
export async function openStanding(index: RecordIndex, self: string): Promise<Standing> {
  const standing = new Standing(self, index.note)
  for (const kind of ['member', 'horizon']) {
    for await (const heads of index.scan({ gte: `${kind}\0`, lt: `${kind}\x01` })) {
      standing.see(heads)
    }
  }
  return standing
}

/** How this node stands with the horizon and with the other members; see `horizon.ts`. */
export class Standing {
  readonly #self: string
  readonly #members = new Set<string>()
  readonly #forgotten = new Set<string>()
  readonly #covered = new Map<string, Stamp>()
  #testimony: Testimony
  #horizon: Stamp = ZERO_STAMP
  #dropped: Stamp = ZERO_STAMP
  /** Whether this node was judged since it learnt that it had been forgotten. */
  #judged = false
  #noteDirty = false

  constructor(self: string, note: Uint8Array | undefined) {
    this.#self = self
    const { testimony, dropped } = decodeNote(note)
    this.#testimony = testimony
    this.#dropped = dropped
  }

  /** Takes in a register as it now is, of any kind. */
  see(heads: Heads): void {
    const [head] = heads
    if (head?.kind === 'member') {
      const deleted = heads.some(each => each.deleted)
      const { key } = head
      if (key === this.#self && deleted && !this.#forgotten.has(key)) this.#judged = false
      if (deleted) this.#forgotten.add(key)
      else this.#forgotten.delete(key)
      if (!deleted && currentValue(heads) !== undefined) this.#members.add(key)
      else this.#members.delete(key)
    }
    if (head?.kind === 'horizon') {
      const value = currentValue(heads)
      if (value?.kind === 'horizon' && value.at > this.#horizon) this.#horizon = value.at
    }
  }

  /** A record of somebody else is about to be merged; what changes is journalled with it. */
  heed({ record }: Outcome): void {
    if (!isForgettableKind(record.kind)) return
    const testimony = afterLateRecord(this.#testimony, record)
    if (testimony !== this.#testimony) this.testify(testimony)
  }

  /** The roots of a member and of this node are equal: what is confirmed here is there too. */
  share(member: string): void {
    const { confirmed: stamp, shared, turn } = this.#testimony
    const before = shared.get(member)
    if (before?.stamp === stamp && before.turn === turn) return
    this.testify({ ...this.#testimony, shared: new Map(shared).set(member, { stamp, turn }) })
  }

  testify(testimony: Testimony): void {
    this.#testimony = testimony
    this.#noteDirty = true
  }

  /** The testimony to be journalled, if it changed since this was last asked. */
  takeNote(): Uint8Array | undefined {
    if (!this.#noteDirty) return undefined
    this.#noteDirty = false
    const { promised, confirmed, shared, late, turn } = this.#testimony
    const shares = [...shared].map(([member, each]) => [member, each.stamp, each.turn])
    const fields = [this.#dropped, promised, confirmed, turn, shares, [...late]]
    return encode(fields, rfc8949EncodeOptions)
  }

  /** What was taken was not journalled. */
  noteLost(): void {
    this.#noteDirty = true
  }

  /** Raises what is dropped to the horizon, unless in doubt; whether there is anything to drop. */
  settle(): boolean {
    if (this.isInDoubt || this.#horizon <= this.#dropped) return false
    this.#dropped = this.#horizon
    this.#noteDirty = true
    return true
  }

  get testimony(): Testimony {
    return this.#testimony
  }

  get horizon(): Stamp {
    return this.#horizon
  }

  /** Up to here tombstones are dropped: the horizon as it was when this node was last not in doubt. */
  get dropped(): Stamp {
    return this.#dropped
  }

  get isInDoubt(): boolean {
    const unjudged = this.#forgotten.has(this.#self) && !this.#judged
    return unjudged || this.#testimony.confirmed < this.#horizon
  }

  /** Members not gone as the records have them, this node included if it is one. */
  get members(): ReadonlySet<string> {
    return this.#members
  }

  isForgotten(id: string): boolean {
    return this.#forgotten.has(id)
  }

  /** This node stands level with somebody who knows, or nobody is left who does. */
  judged(): void {
    this.#judged = true
  }

  evidence(): Omit<Evidence, 'witnesses'> {
    return { self: this.#self, testimony: this.#testimony, horizon: this.#horizon }
  }

  /** This node has had all that a member has, who writes nothing more at or below the stamp. */
  cover(member: string, promised: Stamp): void {
    this.#covered.set(member, promised)
  }

  uncover(member: string): void {
    this.#covered.delete(member)
  }

  /** The promises of members together with all they had then, as heard since this process began. */
  get covered(): ReadonlyMap<string, Stamp> {
    return this.#covered
  }

  /** The members of which this node has had all there is where it has dropped tombstones. */
  witnesses(): readonly string[] {
    const known = [...this.#covered].flatMap(([id, stamp]) => (stamp >= this.#dropped ? id : []))
    return [this.#self, ...known.filter(id => this.#members.has(id))]
  }

  termsFor(peer: string): Terms {
    return {
      dropped: this.dropped,
      confirmed: this.#testimony.confirmed,
      forgotten: this.#forgotten.has(peer)
    }
  }

  /** Whether a peer that tells these terms may know of deletions that this node can learn nowhere. */
  doubts(terms: Terms): boolean {
    return terms.forgotten || this.isInDoubt || this.#testimony.confirmed < terms.dropped
  }

  /** The stamp up to which this node stands for what it gives. */
  get vouched(): Stamp {
    return this.isInDoubt ? ZERO_STAMP : this.#testimony.confirmed
  }

  /** Whether a record may be taken from a peer that vouches for what it gives up to a stamp. */
  accepts(record: StampedRecord, from: Giver | undefined): boolean {
    if (record.stamp > this.dropped) return true
    if (isForgettable(record)) return false
    if (from === undefined || !isForgettableKind(record.kind) || from.vouched === JUDGED)
      return true
    return from.vouched >= this.dropped && !this.#forgotten.has(from.peer)
  }
}

/** Written by this node alone; what another format says is taken for nothing said. */
function decodeNote(note: Uint8Array | undefined): { testimony: Testimony; dropped: Stamp } {
  if (note === undefined) return { testimony: NO_TESTIMONY, dropped: ZERO_STAMP }
  const [dropped, promised, confirmed, turn, shares, late] = decode(note)
  const shared = shares.map(([member, stamp, at]: [string, Stamp, number]) => [
    member,
    { stamp, turn: at }
  ])
  const testimony = { promised, confirmed, turn, shared: new Map(shared), late: new Map(late) }
  return { testimony: testimony as Testimony, dropped }
}
