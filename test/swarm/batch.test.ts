import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:https'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  BATCH_PATH,
  decodeRequest,
  type Entry,
  encodeHead,
  encodeRequest,
  MAX_BATCH_BLOBS,
  MAX_BATCH_BYTES,
  readEntries
} from '../../src/swarm/batch.ts'
import { HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import { SMALL_BLOB_BYTES } from '../../src/swarm/piece-size.ts'
import { tlsOptions } from '../../src/swarm/tls.ts'
import { asker, makeBlob, memorySource, startHolder } from './peers.ts'

const digests = Array.from({ length: 5 }, () => makeBlob(10).digest)

test('an answer is read rightly however it is cut on its way', async () => {
  const entry = fc.oneof(fc.constantFrom('absent' as const, 'alone' as const), fc.uint8Array())
  const answer = fc.array(entry, { maxLength: digests.length })
  await fc.assert(
    fc.asyncProperty(answer, fc.array(fc.nat(40)), async (entries, cuts) => {
      const whole = Buffer.concat(entries.flatMap(encoded))
      const read = await entriesOf(cut(whole, cuts))
      assert.equal(read.length, entries.length)
      for (const [index, wanted] of entries.entries()) {
        const found = read[index]
        assert.equal(found?.digest, digests[index])
        assert.deepEqual(
          found?.kind === 'bytes' ? new Uint8Array(found.bytes) : found?.kind,
          wanted
        )
      }
    })
  )
})

test('an answer that breaks off in a blob, goes on after the last or names one too large is refused', async () => {
  const five = Buffer.concat(digests.flatMap(() => encoded(Buffer.from('bytes'))))
  const tooLarge = encodeHead(SMALL_BLOB_BYTES + 1)
  for (const wrong of [five.subarray(0, -1), five.subarray(0, 2), Buffer.concat([five, five])]) {
    await assert.rejects(entriesOf([wrong]), { code: 'PEER_FAILED' })
  }
  await assert.rejects(entriesOf([tooLarge, Buffer.alloc(10)]), { code: 'PEER_FAILED' })
})

test('a request names digests, and not too many', () => {
  assert.deepEqual(decodeRequest(encodeRequest(digests)), digests)
  assert.equal(decodeRequest(Buffer.from('')), undefined)
  assert.equal(decodeRequest(Buffer.from(`${digests[0]}\n../../etc/passwd`)), undefined)
  const many = Array.from({ length: MAX_BATCH_BLOBS + 1 }, () => digests[0] ?? assert.fail())
  assert.equal(decodeRequest(encodeRequest(many)), undefined)
})

test('a holder gives what it has, says what it has not, and stops at the limit of an answer', async t => {
  const fetcher = new HttpsFetcher({ credentials: asker })
  t.after(() => fetcher.close())
  const [large, ...blobs] = [2, 1, 1, 1, 1, 1].map(size => makeBlob(size * SMALL_BLOB_BYTES))
  assert.ok(large)
  let sent = 0
  const onSent = (bytes: number) => {
    sent += bytes
  }
  await using node = await startHolder('node', memorySource(large, ...blobs), { onSent })
  const absent = makeBlob(3).digest
  const asked = [absent, large.digest, ...blobs.map(({ digest }) => digest)]
  const body = await fetcher.openBatch(node.holder, asked, t.signal)
  assert.ok(body)
  const kinds: string[] = []
  let bytes = 0
  for await (const entry of readEntries(body, asked)) {
    kinds.push(entry.kind)
    if (entry.kind !== 'bytes') continue
    assert.equal(makeSure(blobs, entry), true)
    bytes += entry.bytes.length
  }
  assert.deepEqual(kinds, ['absent', 'alone', 'bytes', 'bytes', 'bytes', 'bytes'])
  assert.equal(bytes, MAX_BATCH_BYTES)
  assert.ok(sent >= bytes)
})

test('a request that is too long, or nothing of the kind, is refused', async t => {
  await using node = await startHolder('node', memorySource())
  const { host, port } = node.holder
  for (const [method, body] of [
    ['POST', 'x'.repeat(1_000_000)],
    ['POST', 'sha256:short'],
    ['GET', '']
  ] as const) {
    const asking = request({
      ...{ ...tlsOptions(asker), host, port, method, path: BATCH_PATH, signal: t.signal },
      headers: { 'content-length': body.length }
    })
    asking.on('error', () => undefined).end(body)
    const [response] = await once(asking, 'response')
    assert.equal(response.statusCode, 400)
    asking.destroy()
  }
})

function makeSure(
  blobs: readonly ReturnType<typeof makeBlob>[],
  entry: Entry & { readonly kind: 'bytes' }
): boolean {
  return blobs.some(({ digest, bytes }) => digest === entry.digest && entry.bytes.equals(bytes))
}

function encoded(entry: 'absent' | 'alone' | Uint8Array): Buffer[] {
  if (typeof entry === 'string') return [encodeHead(entry)]
  return [encodeHead(entry.length), Buffer.from(entry)]
}

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let at = 0
  for (const size of sizes) {
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return [...chunks, bytes.subarray(at)].filter(({ length }) => length > 0)
}

async function entriesOf(chunks: readonly Buffer[]): Promise<Entry[]> {
  const stream = (async function* () {
    yield* chunks
  })()
  return Array.fromAsync(readEntries(stream, digests))
}
