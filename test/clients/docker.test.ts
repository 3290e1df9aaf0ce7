/** Debian's Docker, whose engine speaks the protocol in a way of its own, with users. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { run } from '../helpers/command.ts'
import { debianImage } from './debian.ts'
import { Docker } from './docker.ts'
import { type Login, PULLER, PUSHER, withUsers } from './logins.ts'
import { openPair } from './pair.ts'

let started: Docker | undefined

const pair = openPair(
  'docker',
  async ({ directory }) => {
    started = await Docker.start()
    const { layout } = await debianImage()
    const archive = join(directory, 'debian.tar')
    await run('skopeo', ['copy', `oci:${layout}:bookworm`, `docker-archive:${archive}:debian:made`])
    await docker('load', '--input', archive)
  },
  withUsers
)

after(() => started?.close())

test('docker logs in, with the right password only', async () => {
  await assert.rejects(logIn(pair.first, { ...PUSHER, password: 'wrong' }), /unauthorized/i)
  for (const node of pair.both) assert.match(await logIn(node, PUSHER), /Login Succeeded/)
})

test('docker pushes to one node and pulls the same digest from another', async () => {
  const [pushed, pulled] = pair.both.map(node => `${node}/team/debian:made`) as [string, string]
  await docker('tag', 'debian:made', pushed)
  const [digest] = /sha256:[0-9a-f]{64}/.exec(await docker('push', pushed)) ?? []
  assert.ok(digest !== undefined)
  await docker('rmi', '--force', pushed, 'debian:made')
  assert.ok((await docker('pull', pulled)).includes(`Digest: ${digest}`))
  await docker('pull', `${pair.first}/team/debian@${digest}`)
})

test('docker pushes again what is there, and mounts it from the other repository', async () => {
  const [source, target] = [`${pair.second}/team/debian:made`, `${pair.second}/team/copy:1`]
  assert.match(await docker('push', source), /Layer already exists/)
  await docker('tag', source, target)
  assert.match(await docker('push', target), /Mounted from team\/debian/)
})

test('docker is told what its user may not do, and that an image is unknown', async () => {
  await assert.rejects(docker('pull', `${pair.first}/team/debian:nonesuch`), /manifest unknown/)
  await logIn(pair.second, PULLER)
  await docker('pull', `${pair.second}/team/copy:1`)
  await assert.rejects(docker('push', `${pair.second}/team/copy:1`), /denied/)
  await docker('logout', pair.second)
  await assert.rejects(docker('pull', `${pair.second}/team/copy:1`), /no basic auth|unauthorized/)
})

function logIn(node: string, { user, password }: Login): Promise<string> {
  return docker('login', '--username', user, '--password', password, node)
}

function docker(...args: string[]): Promise<string> {
  if (started === undefined) throw new Error('the Docker engine did not start')
  return started.run(...args)
}
