import assert from 'node:assert/strict'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileReads } from '../../src/store/file-reads.ts'
import { MIB, scratch, someBytes } from './scratch.ts'

const bytes = someBytes(MIB)

test('a buffer is filled as far as the file goes', async t => {
  const { reads } = await openReads(await scratch(t))
  const buffer = Buffer.alloc(100)
  assert.equal(await reads.fill(buffer, 17), 100)
  assert.deepEqual(buffer, bytes.subarray(17, 117))
  assert.equal(await reads.fill(buffer, MIB - 30), 30)
  assert.deepEqual(buffer.subarray(0, 30), bytes.subarray(MIB - 30))
  assert.equal(await reads.fill(buffer, MIB), 0)
  await reads.close()
})

test('a file is closed only when what is being read of it has been read', async t => {
  const { reads, isOpen } = await openReads(await scratch(t))
  const buffers = Array.from({ length: 20 }, () => Buffer.alloc(MIB))
  const reading = buffers.map(buffer => reads.fill(buffer, 0))
  const closing = reads.close()
  assert.ok(isOpen(), 'its descriptor is not free for another file yet')
  await Promise.all(reading)
  await closing
  assert.ok(!isOpen())
  for (const buffer of buffers) assert.ok(buffer.equals(bytes))
  await reads.close()
})

test('a closed file is not read, be its descriptor another file by now', async t => {
  const { reads } = await openReads(await scratch(t))
  await reads.close()
  await assert.rejects(reads.fill(Buffer.alloc(1), 0))
})

async function openReads(directory: string): Promise<{
  readonly reads: FileReads
  readonly isOpen: () => boolean
}> {
  const path = join(directory, 'file')
  await writeFile(path, bytes)
  const handle = await open(path, 'r')
  return { reads: new FileReads(handle), isOpen: () => handle.fd !== -1 }
}
