import assert from 'node:assert/strict'
import { buffer } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Passage } from '../../src/replication/passage.ts'
import { Sightings } from '../../src/replication/sightings.ts'
import type { Holder } from '../../src/swarm/fetcher.ts'
import { Holders } from '../../src/swarm/holders.ts'
import { HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import { asker, honest, liar, makeBlob, rightHead, startRogue } from '../swarm/peers.ts'

const MiB = 1024 * 1024

test('a blob is passed on, whole or in part, whatever its size', async t => {
  for (const sizeBytes of [0, 1, MiB, 3 * MiB + 1]) {
    const blob = makeBlob(sizeBytes)
    const passage = open(t, [[await honest(t, blob)]])
    assert.ok((await buffer(await passage.open(blob.digest, sizeBytes))).equals(blob.bytes))
  }
  const blob = makeBlob(3 * MiB)
  const passage = open(t, [[await honest(t, blob)]])
  for (const [start, end] of [
    [0, 1],
    [MiB, MiB + 5],
    [5, 3 * MiB],
    [2 * MiB + 3, 3 * MiB - 1]
  ] as const) {
    const part = await buffer(await passage.open(blob.digest, 3 * MiB, { start, end }))
    assert.ok(part.equals(blob.bytes.subarray(start, end)), `${start}-${end}`)
  }
})

test('a holder that breaks off is followed by another, at the byte reached', async t => {
  const blob = makeBlob(4 * MiB)
  const resetting = await startRogue('resetting', (head, socket) => {
    const { head: right, start } = rightHead(head, blob.bytes.length)
    socket.write(right)
    socket.write(blob.bytes.subarray(start, start + 2 * MiB), () => socket.destroy())
  })
  t.after(() => resetting[Symbol.asyncDispose]())
  const passage = open(t, [[resetting.holder], [await honest(t, blob)]])
  assert.ok((await buffer(await passage.open(blob.digest, 4 * MiB))).equals(blob.bytes))
})

test('wrong bytes never make a whole blob: its end is not given', async t => {
  const blob = makeBlob(3 * MiB)
  const passage = open(t, [[await liar(t, blob)]])
  let givenBytes = 0
  await assert.rejects(async () => {
    for await (const chunk of await passage.open(blob.digest, 3 * MiB)) givenBytes += chunk.length
  })
  assert.ok(givenBytes <= 2 * MiB, `${givenBytes} bytes were given`)
})

test('of a blob that is all withheld, a client sees nothing of who gave it wrong', async t => {
  const blob = makeBlob(1000)
  const passage = open(t, [[await liar(t, blob)], [await honest(t, blob)]])
  assert.ok((await buffer(await passage.open(blob.digest, 1000))).equals(blob.bytes))
})

test('what nobody has is unknown, before a byte is promised', async t => {
  const passage = open(t, [[await honest(t, makeBlob(1))]])
  await assert.rejects(passage.open(makeBlob(5).digest, 5), error => isCode(error, 'BLOB_UNKNOWN'))
})

test('a client that is slow is waited for, and one that goes ends the transfer', async t => {
  const blob = makeBlob(16 * MiB)
  let receivedBytes = 0
  const passage = open(t, [[await honest(t, blob)]], bytes => {
    receivedBytes += bytes
  })
  const stream = await passage.open(blob.digest, 16 * MiB)
  const [first] = await stream.take(1).toArray()
  assert.ok(blob.bytes.subarray(0, first.length).equals(first))
  assert.ok(stream.destroyed)
  assert.ok(receivedBytes < 8 * MiB, `${receivedBytes} bytes were fetched for nobody`)
})

/** `ranks` are the candidates, best first. */
function open(
  context: TestContext,
  ranks: readonly (readonly Holder[])[],
  onReceived: (bytes: number) => void = () => {}
): Passage {
  const fetcher = new HttpsFetcher({ credentials: asker })
  context.after(() => fetcher.close())
  return new Passage({
    fetcher,
    locator: { candidates: () => ranks.map(rank => [...rank]) },
    holders: new Holders({ clock: systemClock, random: () => 0 }),
    sightings: new Sightings(),
    onReceived,
    log: silentLog
  })
}
