import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdminClient } from '../../src/admin/client.ts'
import { runStatus } from '../../src/admin/commands/status.ts'
import { runWait, type WaitCommand } from '../../src/admin/commands/wait.ts'
import { renderStatus } from '../../src/admin/render.ts'
import type { NodeCopy } from '../../src/admin/status.ts'
import { DIGEST, Notebook, ScriptedNode, STATUS } from './scripted-node.ts'

const one: NodeCopy = { id: '1', name: 'one', state: 'live', holds: true, missing: [] }
const two: NodeCopy = { id: '2', name: 'two', state: 'live', holds: false, missing: [DIGEST] }
const six: NodeCopy = { id: '6', name: 'six', state: 'away', holds: null, missing: [] }

test('wait ends when every member holds the image, though it was unknown at first', async () => {
  const node = new ScriptedNode()
  node.holders = [undefined, [one, two], [one, { ...two, holds: true }]]
  const screen = new Notebook()
  assert.equal(await wait(node, { screen }), 0)
  assert.equal(screen.text, 'team/app:v1 is on 2 of 2 nodes\n')
  assert.equal(node.asked, 3)
})

test('wait for a number of nodes asks for no more, and counts no member that is away', async () => {
  const node = new ScriptedNode()
  node.holders = [[one, two, { ...six, holds: true }]]
  assert.equal(await wait(node, { nodes: 1 }), 0)
  assert.equal(await wait(node, { nodes: 2, timeoutMs: 1 }), 1)
})

test('wait that is not reached in time says who lacks the image, and exits 1', async () => {
  const node = new ScriptedNode()
  node.holders = [[one, two, six, { ...two, name: 'ten', holds: null }]]
  const screen = new Notebook()
  assert.equal(await wait(node, { screen, timeoutMs: 1 }), 1)
  assert.equal(
    screen.text,
    'team/app:v1 is on 1 of 4 nodes; two lacks sha256:abababababab, six is away, ten has not said\n'
  )
})

test('an image that nobody ever pushes is not reached', async () => {
  const screen = new Notebook()
  assert.equal(await wait(new ScriptedNode(), { screen, nodes: 1, timeoutMs: 1 }), 1)
  assert.equal(screen.text, 'team/app:v1 is not known yet\n')
})

test('more nodes asked for than there are is said beside what was reached', async () => {
  const node = new ScriptedNode()
  node.holders = [[one]]
  const screen = new Notebook()
  assert.equal(await wait(node, { screen, nodes: 3, timeoutMs: 1 }), 1)
  assert.equal(screen.text, 'team/app:v1 is on 1 of 1 node; 3 asked for\n')
})

test('on a terminal one line is drawn over until the outcome', async () => {
  const node = new ScriptedNode()
  node.holders = [[one, two], [one]]
  const screen = new Notebook(true)
  assert.equal(await wait(node, { screen }), 0)
  const lines = screen.text.split('\r\x1b[K')
  assert.deepEqual(lines, [
    '',
    'team/app:v1 is on 1 of 2 nodes; two lacks sha256:abababababab',
    'team/app:v1 is on 1 of 1 node\n'
  ])
})

test('scripts get the outcome as one JSON object', async () => {
  const node = new ScriptedNode()
  node.holders = [[one]]
  const screen = new Notebook(true)
  assert.equal(await wait(node, { screen, json: true }), 0)
  assert.deepEqual(JSON.parse(screen.text), {
    reference: 'team/app:v1',
    digest: DIGEST,
    nodes: [one],
    reached: true
  })
})

test('a status is a table for people and a line of JSON for scripts', async () => {
  const client = clientOf(new ScriptedNode())
  const { signal } = new AbortController()
  const table = new Notebook()
  assert.equal(await runStatus({ client, screen: table, watch: false, json: false, signal }), 0)
  assert.match(table.text, /^one {2}ready\n/)
  assert.match(table.text, /up 1h 1m/)
  assert.match(table.text, /3 blobs held \(5\.0 MiB\), 1 missing/)
  assert.match(table.text, /two +live +10\.0\.0\.2:5052 +0 missing/)
  assert.match(table.text, /six +away +10\.0\.0\.6:5052 +missing unknown/)
  assert.match(table.text, /one that never comes back: starling forget six --data DIRECTORY\n/)
  assert.match(table.text, /team\/app:v1 +sha256:abababababab +4\.8 MiB +copies 2 of 2/)
  assert.match(table.text, /1\.0 KiB of 2\.0 KiB +from two/)
  const line = new Notebook()
  assert.equal(await runStatus({ client, screen: line, watch: false, json: true, signal }), 0)
  assert.deepEqual(JSON.parse(line.text), STATUS)
})

test('a watched status is drawn over and ends well when the person leaves', async () => {
  const leave = new AbortController()
  const screen = new Notebook(true)
  const node = new ScriptedNode()
  const running = runStatus({
    client: clientOf(node),
    screen: {
      isTTY: true,
      write: text => {
        screen.write(text)
        leave.abort()
      }
    },
    watch: true,
    json: false,
    signal: leave.signal
  })
  assert.equal(await running, 0)
  assert.ok(screen.text.startsWith('\x1b[H\x1b[Jone  ready'))
  assert.equal(node.pages.length, 1)
})

test('a watched status that goes into a file says when each was', async () => {
  const leave = new AbortController()
  const screen = new Notebook()
  const write = (text: string) => {
    screen.write(text)
    leave.abort()
  }
  await runStatus({
    ...{ client: clientOf(new ScriptedNode()), screen: { write }, watch: true, json: false },
    clock: { now: () => 1_800_000_000_000, monotonic: () => 0 },
    signal: leave.signal
  })
  assert.ok(screen.text.startsWith('\n--- 2027-01-15T08:00:00.000Z\none  ready\n'))
})

test('with several members away the way to forget one names none of them', () => {
  const [two, six] = STATUS.peers
  assert.ok(two !== undefined && six !== undefined)
  const text = renderStatus({ ...STATUS, peers: [{ ...two, state: 'away' }, six] })
  assert.match(text, /one that never comes back: starling forget NAME --data DIRECTORY\n/)
})

test('a status warns of a name that two live nodes have, and of no other', () => {
  const [two, six] = STATUS.peers
  assert.ok(two !== undefined && six !== undefined)
  const text = renderStatus({
    ...STATUS,
    peers: [
      { ...two, name: 'one' },
      { ...six, name: 'one' }
    ]
  })
  assert.match(text, /\nnames that several live nodes have: .* --name\n {2}one\n/)
  assert.doesNotMatch(renderStatus(STATUS), /names that several/)
})

test('a status tells of nodes that refuse this one', () => {
  const refusedBy = [{ address: '10.0.0.9:5052', reason: 'different cluster secret' }]
  const text = renderStatus({ ...STATUS, refusedBy })
  assert.match(text, /that were reached and refuse this one\n {2}10\.0\.0\.9:5052 {2}different/)
})

function wait(node: ScriptedNode, given: Partial<WaitCommand>) {
  return runWait({
    client: clientOf(node),
    screen: new Notebook(),
    reference: { kind: 'tag', repository: 'team/app', tag: 'v1' },
    nodes: 'all',
    timeoutMs: 10_000,
    json: false,
    signal: new AbortController().signal,
    ...given
  })
}

function clientOf(node: ScriptedNode): AdminClient {
  return {
    where: 'here',
    status: page => node.status(page),
    copies: reference => node.copies(reference),
    events: (_follow, signal) => node.follow(signal)
  }
}
