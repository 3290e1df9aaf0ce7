import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Happening } from '../../src/happening.ts'
import { Events } from '../../src/mesh/events.ts'
import type { MeshEvents } from '../../src/mesh/mesh-options.ts'
import type { Applied } from '../../src/records/records.ts'
import { History } from '../../src/replication/history.ts'
import { named } from './fixtures.ts'

const clock = { now: () => 0, monotonic: () => 0 }
const AT = '1970-01-01T00:00:00.000Z'

function openHistory() {
  const events = new Events<MeshEvents>()
  let tell: (applied: readonly Applied[]) => void = () => {}
  const history = new History({
    records: {
      onApplied: listener => {
        tell = listener
        return () => {}
      }
    },
    mesh: { on: (name, listener) => events.on(name, listener), peer: () => undefined },
    clock
  })
  const tags = (count: number) =>
    tell(Array.from({ length: count }, (_, index) => tagged(`v${index}`)))
  return { history, events, tags, tell: (applied: Applied) => tell([applied]) }
}

function tagged(tag: string, before?: string): Applied {
  const value = { kind: 'tag' as const, repository: 'app', tag, digest: named(tag) }
  return applied(value, before === undefined ? undefined : { ...value, digest: named(before) })
}

function applied(value: Applied['value'], before: Applied['before']): Applied {
  const fields = { bytes: new Uint8Array(), id: '', kind: 'tag', key: '', local: true }
  return { ...fields, value, before, conflict: false, sequence: 1 } as Applied
}

test('tags that move and members that come and go are told, leases are not', () => {
  const { history, events, tell } = openHistory()
  tell(tagged('v1', 'old'))
  tell(tagged('v1', 'v1'))
  const lease = { kind: 'lease' as const, repository: 'app', digest: named('blob') }
  tell(applied({ ...lease, sizeBytes: 1, ttlMs: 1, writtenMs: 0 }, undefined))
  events.emit('away', '12D3')
  const about = { at: AT, repository: 'app', tag: 'v1', conflict: false }
  assert.deepEqual(history.past(), [
    { ...about, kind: 'tag', digest: named('v1'), before: named('old') },
    { at: AT, kind: 'member', id: '12D3', name: '12D3', state: 'away' }
  ])
})

test('who follows hears what was, then what happens, until the signal', async () => {
  const { history, tags } = openHistory()
  tags(1)
  const stop = new AbortController()
  const heard: Happening[] = []
  for await (const happening of history.follow(stop.signal)) {
    heard.push(happening)
    if (heard.length === 1) setImmediate(() => tags(2))
    if (heard.length === 3) stop.abort()
  }
  assert.equal(heard.length, 3)
})

test('only so much is remembered, and who is too slow is told what it missed', async () => {
  const { history, tags } = openHistory()
  tags(1_500)
  assert.equal(history.past().length, 1_000)
  const stop = new AbortController()
  const follower = history.follow(stop.signal)
  await follower.next()
  tags(10_005)
  const heard: Happening[] = []
  for await (const happening of follower) {
    heard.push(happening)
    if (happening.kind === 'left-out') stop.abort()
  }
  assert.equal(heard.length, 999 + 10_000 + 1)
  assert.deepEqual(heard.at(-1), { at: AT, kind: 'left-out', changes: 5 })
})
