import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../helpers/command.ts'
import { debianImage } from './debian.ts'
import { openPair } from './pair.ts'

const pair = openPair('buildah')

const INSECURE = '--tls-verify=false'

test('buildah builds on an image from one node and pushes the result, which runs from another', async () => {
  const { layout } = await debianImage()
  const base = `docker://${pair.first}/base/debian:bookworm`
  await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:bookworm`, base])

  const container = await buildah(
    'from',
    INSECURE,
    '--pull-always',
    `${pair.second}/base/debian:bookworm`
  )
  await writeFile(join(pair.directory, 'greeting'), 'hello from a layer\n')
  await buildah('copy', container, join(pair.directory, 'greeting'), '/greeting')
  await buildah('commit', container, 'app')
  const digestFile = join(pair.directory, 'digest')
  await buildah(
    'push',
    INSECURE,
    '--digestfile',
    digestFile,
    'app',
    `docker://${pair.second}/team/app:1`
  )
  await buildah('rm', container)
  await buildah('rmi', '--all', '--force')

  const pulled = await buildah('from', INSECURE, `${pair.first}/team/app:1`)
  const printed = await buildah('run', '--isolation=chroot', pulled, 'cat', '/greeting')
  assert.equal(printed, 'hello from a layer')
  const inspected = await buildah(
    'inspect',
    '--type=container',
    '--format={{.FromImageDigest}}',
    pulled
  )
  const pushed = await run('cat', [digestFile])
  assert.equal(inspected, pushed)
})

function buildah(...args: string[]): Promise<string> {
  const storage = [
    '--root',
    join(pair.directory, 'storage'),
    '--runroot',
    join(pair.directory, 'run')
  ]
  // The vfs driver works on any file system and leaves nothing mounted.
  return run('buildah', [...storage, ...args], { env: { STORAGE_DRIVER: 'vfs' } })
}
