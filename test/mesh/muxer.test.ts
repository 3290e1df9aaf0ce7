import assert from 'node:assert/strict'
import { test } from 'node:test'
import { multiaddrConnectionPair } from '@libp2p/utils'
import { thriftyYamux } from '../../src/mesh/muxer.ts'

const MESSAGE_BYTES = 1_000
const MESSAGES = 2_000

test('messages of many windows pass one way, and few words come back', async () => {
  const [outbound, inbound] = multiaddrConnectionPair()
  const sender = thriftyYamux({ enableKeepAlive: false })().createStreamMuxer(outbound)
  const receiver = thriftyYamux({ enableKeepAlive: false })().createStreamMuxer(inbound)
  let back = 0
  outbound.addEventListener('message', () => {
    back += 1
  })
  let receivedBytes = 0
  const all = new Promise<void>(resolve => {
    receiver.addEventListener('stream', ({ detail: stream }) => {
      stream.addEventListener('message', ({ data }) => {
        receivedBytes += data.byteLength
        if (receivedBytes === MESSAGES * MESSAGE_BYTES) resolve()
      })
    })
  })
  const stream = await sender.createStream()
  for (let message = 0; message < MESSAGES; message++) {
    stream.send(Buffer.alloc(MESSAGE_BYTES))
  }
  await all
  assert.ok(back > 0 && back < MESSAGES / 10, `${back} for ${MESSAGES} messages`)
  sender.abort(new Error('the test is over'))
  receiver.abort(new Error('the test is over'))
})
