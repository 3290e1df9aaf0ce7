/** The disk refuses a write of the record index (README, "The index breaks"). */
import assert from 'node:assert/strict'
import { mkdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Level } from 'level'
import { makeImage } from '../../src/demo/image.ts'
import { type Node, Nodes } from './nodes.ts'

test('a node whose record index fails says so, takes no pushes, serves pulls and gets over it', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2)) as [Node, Node]
  const image = makeImage([10_000])
  await one.push('app', 'one', image)
  // Something in the way of the look for room, which comes before the index is touched.
  const obstacle = join(one.dataDir, 'records', 'room.tmp')
  await mkdir(obstacle)
  const refusal = refuseIndexOf(t, one)
  await assert.rejects(one.push('app', 'two', makeImage([10])), /503.*being repaired/s)
  refusal.restore()

  const { reason } = await one.until('to be unready', ({ ready }) => !ready)
  assert.match(reason, /the index of records failed/)
  assert.equal(await one.isReady(), false)
  await assert.rejects(one.push('app', 'three', makeImage([20])), /503/)
  assert.equal(await one.pull('app', 'one'), image.sizeBytes)

  await rmdir(obstacle)
  await one.ready()
  const pushed = makeImage([30])
  await one.push('app', 'four', pushed)
  assert.equal(await two.pull('app', 'four'), pushed.sizeBytes)
})

/** Lets the record index of a node, and of no other in this process, refuse what is written. */
function refuseIndexOf(t: TestContext, { dataDir }: Node): { restore(): void } {
  const { batch } = Level.prototype
  const mocked = t.mock.method(
    Level.prototype,
    'batch',
    function (this: Level, ...arguments_: Parameters<typeof batch>) {
      if (this.location === join(dataDir, 'index', 'records')) {
        return Promise.reject(new Error('the disk refused it, as the test wants it'))
      }
      return Reflect.apply(batch, this, arguments_)
    }
  )
  return mocked.mock
}
