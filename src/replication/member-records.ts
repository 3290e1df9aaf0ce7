import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Applied, Records } from '../records/records.ts'

/** What became of a name: a member that is live cannot be forgotten, for it would join anew. */
export type Forgotten =
  | { readonly kind: 'forgotten'; readonly ids: readonly string[] }
  | { readonly kind: 'live' }
  | { readonly kind: 'unknown' }

/**
 * Keeps the member records and the mesh agreed: writes this node's own record, teaches the mesh
 * the others, and turns a member that is gone into a tombstone that every node sees.
 */
export class MemberRecords {
  readonly #mesh: Mesh
  readonly #records: Records
  readonly #log: Log
  readonly #unsubscribe: () => void
  #work: Promise<void> = Promise.resolve()

  constructor(options: { mesh: Mesh; records: Records; log: Log }) {
    this.#mesh = options.mesh
    this.#records = options.records
    this.#log = options.log
    this.#unsubscribe = this.#records.onApplied(applied => {
      const members = applied.filter(({ kind }) => kind === 'member')
      for (const each of members) this.#forgetBuried(each)
      if (members.length > 0) this.#enqueue(() => this.#agree())
    })
    this.#mesh.on('address', () => this.#enqueue(() => this.#agree()))
    this.#mesh.on('gone', id => this.#enqueue(() => this.#bury(id)))
    this.#records.forgetting.onCleared(() => this.#enqueue(() => this.#agree()))
  }

  /** Writes this node's record if it says anything new, and tells the mesh whom it may know. */
  async start(): Promise<void> {
    await this.#agree()
  }

  /**
   * Forgets the members of this name that are not heard: nothing waits for them any more, and what
   * they return with is judged. Throws as `Records.write` does.
   */
  async forget(name: string): Promise<Forgotten> {
    const named = (await this.#records.members()).filter(
      member => member.name === name && member.id !== this.#mesh.id
    )
    if (named.length === 0) return { kind: 'unknown' }
    const silent = named.filter(({ id }) => this.#mesh.peer(id)?.state !== 'live')
    if (silent.length === 0) return { kind: 'live' }
    for (const { id } of silent) this.#mesh.forget(id)
    await this.#records.write(silent.map(({ id }) => ({ kind: 'forget', id })))
    for (const { id } of silent) this.#log.warn({ peer: id, name }, 'member forgotten')
    return { kind: 'forgotten', ids: silent.map(({ id }) => id) }
  }

  async close(): Promise<void> {
    this.#unsubscribe()
    await this.#work
  }

  #enqueue(change: () => Promise<void>): void {
    this.#work = this.#work.then(change).catch(error => {
      this.#log.error({ err: error }, 'member records failed')
    })
  }

  async #agree(): Promise<void> {
    const members = (await this.#records.members()).map(({ kind: _, ...member }) => member)
    const self = this.#mesh.member
    const own = members.find(({ id }) => id === self.id)
    // A node that was forgotten and is back joins anew once its old records have been judged.
    const { standing } = this.#records.forgetting
    const mayJoin = !(standing.isInDoubt && standing.isForgotten(self.id))
    if (mayJoin && !isDeepStrictEqual(own, self)) {
      await this.#records.write([{ kind: 'member', ...self }])
    }
    this.#mesh.learnMembers(members.filter(({ id }) => id !== self.id))
  }

  #forgetBuried({ before, value }: Applied): void {
    if (value === undefined && before?.kind === 'member' && before.id !== this.#mesh.id) {
      this.#mesh.forget(before.id)
    }
  }

  async #bury(id: string): Promise<void> {
    const members = await this.#records.members()
    if (!members.some(member => member.id === id)) return
    await this.#records.write([{ kind: 'forget', id }])
    this.#log.warn({ peer: id }, 'member forgotten')
  }
}
