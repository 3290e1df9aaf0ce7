import { isDeepStrictEqual } from 'node:util'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Applied, Records } from '../records/records.ts'

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
  }

  /** Writes this node's record if it says anything new, and tells the mesh whom it may know. */
  async start(): Promise<void> {
    await this.#agree()
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
    // A node that was forgotten and is back finds no record of itself here, and joins anew.
    if (!isDeepStrictEqual(own, self)) await this.#records.write([{ kind: 'member', ...self }])
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
