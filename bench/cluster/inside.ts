import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { json } from 'node:stream/consumers'
import { pushBlob } from '../../src/demo/client.ts'
import { makeBlob } from '../../src/demo/image.ts'
import { machineMs, type Pushed, type Task } from './task.ts'

/** So many blobs at once, as clients push the layers of an image. */
const PARALLEL_PUSHES = 4

const CHUNK = Buffer.alloc(256 * 1024)

/** The program that `task.ts` runs where a node is: it reads one task and prints what came of it. */
console.log(JSON.stringify(await perform((await json(process.stdin)) as Task)))

function perform(task: Task): Promise<unknown> {
  switch (task.kind) {
    case 'push':
      return push(task)
    case 'listen':
      return listen(task)
    case 'pour':
      return measureLine(task)
    default:
      return task satisfies never
  }
}

async function push(task: Task & { kind: 'push' }): Promise<Pushed> {
  const waiting = task.blobs.map(({ sizeBytes, seed }) =>
    makeBlob(sizeBytes, Buffer.from(seed, 'hex'))
  )
  const firstByteMs = machineMs()
  const lane = async () => {
    for (let blob = waiting.shift(); blob !== undefined; blob = waiting.shift()) {
      await pushBlob(task, blob)
    }
  }
  await Promise.all(Array.from({ length: PARALLEL_PUSHES }, lane))
  return { firstByteMs, committedMs: machineMs() }
}

/** Gives the port; the process lives on until it is ended. */
async function listen({ host, bytes }: Task & { kind: 'listen' }): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, async socket => {
    const drained = once(socket.resume(), 'end')
    await Promise.all([pour(socket, bytes), drained])
    socket.end()
  }).listen(0, host)
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port was opened')
  return address.port
}

/** The other end closes only when it has both given and taken everything. */
async function measureLine({ host, port, bytes }: Task & { kind: 'pour' }): Promise<number> {
  const socket = connect({ host, port, allowHalfOpen: true })
  await once(socket, 'connect')
  const startedMs = machineMs()
  const ended = once(socket.resume(), 'end')
  await pour(socket, bytes)
  socket.end()
  await ended
  return bytes / ((machineMs() - startedMs) / 1000)
}

async function pour(socket: Socket, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; left -= CHUNK.length) {
    if (!socket.write(CHUNK)) await once(socket, 'drain')
  }
}
