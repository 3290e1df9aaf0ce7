import assert from 'node:assert/strict'
import { test } from 'node:test'
import { installMachine } from './machine/install.ts'

installMachine()
const { Stage } = await import('./stage.ts')

const DAY_MS = 24 * 60 * 60 * 1_000

/** In each seed messages and syncs take another time. */
function hard(name: string, run: (seed: number) => Promise<void>): void {
  test(name, () => run(1))
}

hard(
  'all are off for 8 days: what was deleted stays deleted, and nothing else is missing',
  async seed => {
    const stage = await Stage.ready(seed)
    const { simulation } = stage
    await stage.push(1, 'kept', 'kept')
    await stage.push(2, 'gone', 'gone')
    // One member does not hear of the delete before all go down.
    simulation.crash(stage.host(3), 'power')
    await stage.unlink(1, 'gone')
    for (const host of simulation.hosts) simulation.crash(host, 'power')
    await stage.advance(8 * DAY_MS)
    await stage.converge()
    assert.equal((await stage.push(3, 'kept', 'newer')).outcome, 'acknowledged')
    await stage.converge()
    await stage.collectAll()
  }
)

hard('clocks at 1970 and 2040: the last write wins all the same', async seed => {
  const stage = await Stage.ready(seed)
  stage.host(1).skewMs = Date.UTC(1970, 0) - Date.UTC(2026, 0)
  stage.host(2).skewMs = Date.UTC(2040, 0) - Date.UTC(2026, 0)
  for (const [number, name] of [1, 2, 1, 3, 2, 3, 1].map((n, at) => [n, `image-${at}`] as const)) {
    assert.equal((await stage.push(number, 'v1', name)).outcome, 'acknowledged')
    for (const reader of [1, 2, 3]) await stage.read(reader, 'v1')
  }
  await stage.untag(2, 'v1')
  assert.equal((await stage.push(1, 'v1', 'last')).outcome, 'acknowledged')
  for (const host of stage.simulation.hosts) stage.simulation.crash(host, 'power')
  await stage.converge()
  for (const reader of [1, 2, 3]) await stage.read(reader, 'v1')
})

hard(
  'a long 2|2 split with writes and deletes on both sides ends the same everywhere',
  async seed => {
    const stage = await Stage.ready(seed, { nodes: 4 })
    await stage.push(1, 'both', 'before')
    await stage.push(1, 'deleted', 'deleted')
    stage.split(1, 2)
    await stage.advance(60_000)
    for (const side of [1, 3]) {
      for (let round = 0; round < 3; round++) {
        await stage.push(side, 'both', `${side}-${round}`)
        await stage.push(side + 1, `own-${side}`, `own-${side}-${round}`)
        await stage.advance(5_000)
      }
    }
    await stage.unlink(4, 'deleted')
    await stage.untag(2, 'both')
    await stage.advance(60_000)
    await stage.converge()
    await stage.collectAll()
  }
)

hard(
  'every node is replaced on an empty disk, one after the other, and finds the rest 60 s late',
  async seed => {
    const stage = await Stage.ready(seed, { aloneAfterMs: 60_000, copies: 2 })
    for (const name of ['a', 'b', 'c']) await stage.push(1, name, name)
    await stage.converge()
    for (const host of stage.simulation.hosts) {
      stage.simulation.crash(host, 'kill')
      stage.simulation.wipe(host)
      await stage.advance(1_000)
      stage.simulation.start(host, { discoveryAfterMs: 60_000 })
      // As a rolling update does: the next one goes once this one says that it is ready.
      const number = stage.simulation.hosts.indexOf(host) + 1
      await stage.until('it is ready', () => stage.isReady(number))
    }
    await stage.converge()
  }
)

hard('a member that was forgotten and returns brings nothing back that was deleted', async seed => {
  const stage = await Stage.ready(seed)
  const { simulation } = stage
  await stage.push(3, 'kept', 'kept')
  await stage.push(3, 'gone', 'gone')
  // What it has confirmed by now it is not believed about later.
  await stage.advance(90_000)
  simulation.crash(stage.host(3), 'power')
  await stage.advance(10_000)
  const one = stage.node(1)
  const forgotten = await stage.asked(one, () => one.members.forget('n3'))
  assert.equal(forgotten.kind, 'forgotten')
  await stage.unlink(1, 'gone')
  await stage.push(2, 'new', 'new')
  // Long enough for the tombstone to be forgotten too.
  await stage.advance(120_000)
  await stage.converge()
  await stage.collectAll()
})

for (const [nodes, dead, name] of [
  [1, 0, 'on one node'],
  [2, 0, 'on two'],
  [3, 1, 'on three with one dead']
] as const) {
  hard(`the space of what was deleted comes back ${name}`, async seed => {
    const stage = await Stage.ready(seed, { nodes })
    await stage.push(1, 'kept', 'kept')
    await stage.push(1, 'gone', 'gone')
    if (dead > 0) stage.simulation.crash(stage.host(nodes), 'power')
    await stage.advance(10_000)
    await stage.unlink(1, 'gone')
    await stage.collectAll()
    // What was collected on the others is not wanted back by the one that was dead.
    await stage.converge()
    await stage.collectAll()
  })
}

hard(
  'a node that is cut off answers for what was deleted there, whatever is pushed elsewhere',
  async seed => {
    const stage = await Stage.ready(seed)
    await stage.push(2, 'v1', 'old')
    stage.split(1)
    await stage.unlink(1, 'v1')
    assert.equal((await stage.push(2, 'v1', 'new')).outcome, 'acknowledged')
    await stage.read(1, 'v1')
    await stage.converge()
    for (const reader of [1, 2, 3]) await stage.read(reader, 'v1')
  }
)

hard(
  'a delete leaves standing what was pushed anew where its node could not know of it',
  async seed => {
    const stage = await Stage.ready(seed)
    await stage.push(2, 'v1', 'both')
    await stage.push(2, 'v2', 'one')
    stage.split(1)
    assert.equal((await stage.push(1, 'again', 'both')).outcome, 'warned')
    await stage.unlink(2, 'v1')
    await stage.unlink(2, 'v2')
    await stage.converge()
    for (const { records } of stage.simulation.nodes) {
      assert.equal((await records.tag('app', 'again'))?.digest, stage.image('both').digest)
      assert.ok(await records.link('app', stage.image('both').digest))
      assert.equal(await records.link('app', stage.image('one').digest), undefined)
    }
  }
)

hard('a node that was paused while a tag moved answers with the new image', async seed => {
  const stage = await Stage.ready(seed)
  await stage.push(1, 'v1', 'old')
  stage.simulation.pause(stage.host(3))
  await stage.advance(10_000)
  await stage.push(1, 'v1', 'new')
  stage.simulation.resume(stage.host(3))
  const node = stage.node(3)
  const found = await stage.asked(node, () =>
    node.content.manifest('app', 'v1', new AbortController().signal)
  )
  assert.equal(found?.digest, stage.image('new').digest)
})
