import type { Clock } from '../clock.ts'
import type { Change, Happening } from '../happening.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Applied, Records } from '../records/records.ts'

/** What is remembered for who asks later: about what a person reads. */
const MAX_REMEMBERED = 1_000
/** What a reader may be behind before it is told that something is left out. */
const MAX_WAITING = 10_000

/** Remembers what changed of late, and tells those who follow. */
export class History {
  readonly #clock: Clock
  readonly #past: Happening[] = []
  readonly #followers = new Set<(happening: Happening) => void>()
  readonly #unsubscribe: readonly (() => void)[]

  constructor(options: {
    readonly records: Pick<Records, 'onApplied'>
    readonly mesh: Pick<Mesh, 'on' | 'peer'>
    readonly clock: Clock
  }) {
    const { records, mesh, clock } = options
    this.#clock = clock
    const member = (id: string, state: 'live' | 'away' | 'gone') =>
      this.#tell({ kind: 'member', id, name: mesh.peer(id)?.name ?? id, state })
    this.#unsubscribe = [
      records.onApplied(applied => {
        for (const each of applied) for (const change of changesOf(each)) this.#tell(change)
      }),
      mesh.on('live', id => member(id, 'live')),
      mesh.on('away', id => member(id, 'away')),
      mesh.on('gone', id => member(id, 'gone'))
    ]
  }

  /** What is remembered, oldest first. */
  past(): readonly Happening[] {
    return [...this.#past]
  }

  /** What is remembered, and then what happens, until the signal aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<Happening, void> {
    let waiting = this.past().slice()
    let leftOut = 0
    let changed = Promise.withResolvers<void>()
    const hear = (happening: Happening) => {
      if (waiting.length < MAX_WAITING) waiting.push(happening)
      else leftOut += 1
      changed.resolve()
    }
    const wake = () => changed.resolve()
    this.#followers.add(hear)
    signal.addEventListener('abort', wake)
    try {
      while (!signal.aborted) {
        const batch = waiting
        const changes = leftOut
        waiting = []
        leftOut = 0
        yield* batch
        if (changes > 0) yield this.#dated({ kind: 'left-out', changes })
        if (waiting.length > 0) continue
        await changed.promise
        changed = Promise.withResolvers()
      }
    } finally {
      this.#followers.delete(hear)
      signal.removeEventListener('abort', wake)
    }
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
  }

  #tell(change: Change): void {
    const happening = this.#dated(change)
    this.#past.push(happening)
    if (this.#past.length > MAX_REMEMBERED) this.#past.shift()
    for (const hear of this.#followers) hear(happening)
  }

  #dated(change: Change): Happening {
    return { at: new Date(this.#clock.now()).toISOString(), ...change }
  }
}

/** Leases come and go with every push and pull, and say nothing of what there is. */
function* changesOf({ value, before, conflict }: Applied): Generator<Change, void> {
  const previous = before?.kind === 'tag' ? before.digest : null
  if (value?.kind === 'tag' && (value.digest !== previous || conflict)) {
    const { repository, tag, digest } = value
    yield { kind: 'tag', repository, tag, digest, before: previous, conflict }
  }
  if (value === undefined && before?.kind === 'tag') {
    const { repository, tag, digest } = before
    yield { kind: 'untag', repository, tag, before: digest }
  }
  if (value?.kind === 'link' && before === undefined) {
    yield { kind: 'manifest', repository: value.repository, digest: value.digest }
  }
  if (value === undefined && before?.kind === 'link') {
    const { repository, digest } = before
    yield { kind: 'manifest-deleted', repository, digest }
  }
}
