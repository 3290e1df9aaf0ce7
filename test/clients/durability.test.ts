import assert from 'node:assert/strict'
import { test } from 'node:test'
import { imageOf, makeBlob } from '../../src/demo/image.ts'
import { hexOf } from '../../src/digest.ts'
import { Cluster } from '../helpers/cluster.ts'
import { push } from '../history/client.ts'
import { type SystemCall, traced } from './system-calls.ts'

test('a push is on disk in the one order of durability before it is answered', async t => {
  const { cluster, nodes } = await Cluster.start(1)
  t.after(() => cluster.close())
  const [node] = nodes
  assert.ok(node)
  const image = imageOf([makeBlob(3_000_000, Buffer.from('traced'))])
  const calls = await traced(node.pid, async () => {
    const { outcome } = await push(node.addresses.registry, 'app', 'v1', image)
    assert.equal(outcome, 'done')
    // A call is told when it ends, and its bytes may be here before that. This one comes after it.
    await fetch(`http://${node.addresses.registry}/v2/`)
  })

  for (const digest of [...image.blobs.map(blob => blob.digest), image.digest]) {
    const hex = hexOf(digest)
    const renamed = only(calls, 'rename', `/blobs/sha256/${hex.slice(0, 2)}/${hex}"`)
    const [partial = ''] = /"([^"]*)"/.exec(renamed.text)?.slice(1) ?? []
    const written = calls.filter(({ name, text }) => isWrite(name) && text.includes(`<${partial}>`))
    const lastByte = Math.max(...written.map(({ ended }) => ended))
    const synced = next(calls, 'fdatasync', `<${partial}>`, lastByte)
    assert.ok(synced.ended < renamed.begun, `${digest} had its name before its bytes were synced`)
    const named = next(calls, 'fsync', `/blobs/sha256/${hex.slice(0, 2)}>`, renamed.ended)
    const recorded = calls.find(
      ({ name, text, begun }) =>
        isWrite(name) && text.includes('/records/journal-') && begun > renamed.ended
    )
    assert.ok(recorded && named.ended < recorded.begun, `${digest} was recorded before it was held`)
    const kept = next(calls, 'fdatasync', '/records/journal-', recorded.ended)
    const answered = next(calls, 'write', 'HTTP/1.1 201', renamed.ended)
    assert.ok(kept.ended < answered.begun, `${digest} was answered before its record was synced`)
  }
})

function isWrite(name: string): boolean {
  return name.includes('write')
}

function only(calls: readonly SystemCall[], name: string, text: string): SystemCall {
  const found = calls.filter(call => call.name === name && call.text.includes(text))
  assert.equal(found.length, 1, `${name} of ${text}`)
  return found[0] as SystemCall
}

/** The first such call that begins after a moment. */
function next(calls: readonly SystemCall[], name: string, text: string, after: number): SystemCall {
  const found = calls.find(
    call => call.name === name && call.text.includes(text) && call.begun > after
  )
  assert.ok(found, `no ${name} of ${text} after line ${after}`)
  return found
}
