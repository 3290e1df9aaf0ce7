/** Nodes with users, and clients that log in each in its own way: by Basic, and by tokens. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { run } from '../helpers/command.ts'
import { Containerd } from './containerd.ts'
import { debianImage, type LayoutImage } from './debian.ts'
import { credentials, PULLER, PUSHER, withUsers } from './logins.ts'
import { openPair } from './pair.ts'

const NAME = 'registry.example/library/debian:bookworm'

let containerd: Containerd | undefined
let image: LayoutImage

const pair = openPair(
  'users',
  async () => {
    image = await debianImage()
    containerd = await Containerd.start()
  },
  withUsers
)

after(() => containerd?.close())

test('skopeo pushes as the user who may, and nobody else does', async () => {
  const push = (...login: string[]) =>
    skopeo('copy', '--dest-tls-verify=false', ...login, source(), `docker://${pair.first}/${NAME}`)
  await assert.rejects(push(), /unauthorized|authentication required|credentials/i)
  await assert.rejects(push('--dest-creds', credentials(PULLER)), /denied|not allowed/i)
  await assert.rejects(push('--dest-creds', `${PUSHER.user}:wrong`), /unauthorized|credentials/i)
  await push('--dest-creds', credentials(PUSHER))
})

test('skopeo logs in once and inspects, lists and pulls from another node with what it kept', async () => {
  const authfile = ['--authfile', join(pair.directory, 'auth.json')]
  const registry = pair.second
  const login = ['--username', PULLER.user, '--password', PULLER.password]
  await skopeo('login', '--tls-verify=false', ...authfile, ...login, registry)
  const inspect = ['inspect', '--tls-verify=false', ...authfile, `docker://${registry}/${NAME}`]
  assert.equal(JSON.parse(await skopeo(...inspect)).Digest, image.digest)
  const list = ['list-tags', '--tls-verify=false', ...authfile]
  const listed = JSON.parse(await skopeo(...list, `docker://${registry}/${repository()}`))
  assert.deepEqual(listed.Tags, ['bookworm'])
  await skopeo('logout', ...authfile, registry)
  await assert.rejects(skopeo(...inspect), /unauthorized|credentials/i)
  const wrong = ['--username', PULLER.user, '--password', 'wrong', registry]
  await assert.rejects(skopeo('login', '--tls-verify=false', ...authfile, ...wrong))
})

test('containerd pulls with the pull secret that kubelet gives it, and not without', async () => {
  const { images } = started()
  await started().mirror('registry.example', pair.second)
  await assert.rejects(images.pull(NAME), /unauthorized|401|authorization failed/i)
  await assert.rejects(images.pull(NAME, { ...PULLER, password: 'wrong' }))
  await images.pull(NAME, PULLER)
  assert.equal(await started().digestOf(NAME), image.digest)
})

test('containerd pulls with what hosts.toml has for the mirror', async () => {
  await started().forget(NAME)
  await started().mirror('registry.example', pair.first, PULLER)
  await started().images.pull(NAME)
  assert.equal(await started().digestOf(NAME), image.digest)
})

test('containerd pushes by a token, which its user must have the right to', async () => {
  const pushed = `${pair.second}/pushed/debian:by-containerd`
  await assert.rejects(started().push(NAME, pushed, PULLER), /denied|403|401|insufficient/i)
  await started().push(NAME, pushed, PUSHER)
  const creds = ['--creds', credentials(PULLER), '--tls-verify=false']
  const printed = await skopeo(
    'inspect',
    ...creds,
    `docker://${pair.first}/pushed/debian:by-containerd`
  )
  assert.equal(JSON.parse(printed).Digest, image.digest)
  assert.match(pair.logs, /"audit":"change","user":"zarf-push","via":"token"/)
})

function started(): Containerd {
  if (containerd === undefined) throw new Error('containerd did not start')
  return containerd
}

function source(): string {
  return `oci:${image.layout}:bookworm`
}

function repository(): string {
  return NAME.slice(0, NAME.lastIndexOf(':'))
}

function skopeo(...args: string[]): Promise<string> {
  return run('skopeo', args)
}
