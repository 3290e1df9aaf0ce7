import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import { debianImage } from './debian.ts'

const INSECURE = '--tls-verify=false'

let cluster: Cluster
let directory: string
let first: string
let second: string

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'starling-buildah-'))
  const started = await Cluster.start(2)
  cluster = started.cluster
  ;[first, second] = started.nodes.map(node => node.addresses.registry) as [string, string]
})

after(async () => {
  await cluster?.close()
  await rm(directory, { recursive: true, force: true })
})

test('buildah builds on an image from one node and pushes the result, which runs from another', async () => {
  const { layout } = await debianImage()
  const base = `docker://${first}/base/debian:bookworm`
  await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${layout}:bookworm`, base])

  const container = await buildah(
    'from',
    INSECURE,
    '--pull-always',
    `${second}/base/debian:bookworm`
  )
  await writeFile(join(directory, 'greeting'), 'hello from a layer\n')
  await buildah('copy', container, join(directory, 'greeting'), '/greeting')
  await buildah('commit', container, 'app')
  const digestFile = join(directory, 'digest')
  await buildah(
    'push',
    INSECURE,
    '--digestfile',
    digestFile,
    'app',
    `docker://${second}/team/app:1`
  )
  await buildah('rm', container)
  await buildah('rmi', '--all', '--force')

  const pulled = await buildah('from', INSECURE, `${first}/team/app:1`)
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
  const storage = ['--root', join(directory, 'storage'), '--runroot', join(directory, 'run')]
  // The vfs driver works on any file system and leaves nothing mounted.
  return run('buildah', [...storage, ...args], { env: { STORAGE_DRIVER: 'vfs' } })
}
