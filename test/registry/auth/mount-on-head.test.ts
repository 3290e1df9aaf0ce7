/** `--mount-on-head`, on a real node: who is told that a blob need not be sent, and who is not. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Digest, digestOf } from '../../../src/digest.ts'
import { type Node, Nodes } from '../../cluster/nodes.ts'
import { assertError, imageManifest, OCI_IMAGE } from '../fixture.ts'
import { basic, bearer, htpasswd, temporaryFile } from './fixture.ts'

const ANN = basic('ann', 'a')
const EVE = basic('eve', 'e')
const RULES = `
repositories:
  'team/**': { pull: [ann], push: [ann], delete: [ann] }
  'shared/**': { pull: [ann, eve], push: [ann], delete: [ann] }
  'eve/**': { pull: [eve], push: [eve], delete: [eve] }
`
const CONFIG = Buffer.from('{"os":"linux"}')

test('a blob of any repository that a pusher may read need not be sent again', async t => {
  const node = await openNode(t)
  const layer = await pushed(node, 'shared/base', ANN, 'a layer to share')
  const config = await pushed(node, 'eve/app', EVE, String(CONFIG))
  assert.equal(await head(node, 'eve/app', layer.digest, EVE), 200)
  // The lease that came with the answer makes it one of this repository.
  const manifest = imageManifest(config.bytes, layer.bytes)
  assert.equal((await put(node, 'eve/app', manifest, EVE)).status, 201)
  const pulled = await node.get(`/v2/eve/app/blobs/${layer.digest}`, { headers: EVE })
  assert.deepEqual(Buffer.from(await pulled.arrayBuffer()), layer.bytes)
})

test('what a pusher was told is there stays there, whatever becomes of its first repository', async t => {
  const node = await openNode(t)
  const layer = await pushed(node, 'shared/base', ANN, 'soon deleted')
  assert.equal(await head(node, 'shared/other', layer.digest, ANN), 200)
  const path = `/v2/shared/base/blobs/${layer.digest}`
  const { status } = await node.get(path, { method: 'DELETE', headers: ANN })
  assert.equal(status, 202)
  const image = imageManifest((await pushed(node, 'shared/other', ANN, '{}')).bytes, layer.bytes)
  assert.equal((await put(node, 'shared/other', image, ANN)).status, 201)
})

test('CVE-2024-39897: a blob that its asker may read nowhere is as unknown as one that is not', async t => {
  const node = await openNode(t)
  const { digest } = await pushed(node, 'team/app', ANN, 'a secret of the team')
  for (const repository of ['eve/app', 'eve/other']) {
    assert.equal(await head(node, repository, digest, EVE), 404)
    const got = await node.get(`/v2/${repository}/blobs/${digest}`, { headers: EVE })
    await assertError(got, 404, 'BLOB_UNKNOWN')
  }
  assert.equal(await head(node, 'shared/base', digest, EVE), 404)
})

test('CVE-2024-39897: who may pull and not push is told only what the repository has', async t => {
  const node = await openNode(t)
  const { digest } = await pushed(node, 'eve/app', EVE, 'of her own')
  assert.equal(await head(node, 'shared/base', digest, EVE), 404)
})

test('CVE-2024-39897: a manifest cannot name what its pusher may read nowhere', async t => {
  const node = await openNode(t)
  const secret = await pushed(node, 'team/app', ANN, 'a secret of the team')
  const config = await pushed(node, 'eve/app', EVE, String(CONFIG))
  const refused = await put(node, 'eve/app', imageManifest(config.bytes, secret.bytes), EVE)
  await assertError(refused, 400, 'MANIFEST_BLOB_UNKNOWN')
  // Neither has the attempt made it visible, nor does an index that names it as a manifest.
  assert.equal(await head(node, 'eve/app', secret.digest, EVE), 404)
  const team = imageManifest(secret.bytes, secret.bytes)
  assert.equal((await put(node, 'team/app', team, ANN)).status, 201)
  const child = { mediaType: OCI_IMAGE, digest: digestOf(team), size: team.length }
  const index = { schemaVersion: 2, manifests: [child] }
  await put(node, 'eve/app', Buffer.from(JSON.stringify(index)), EVE)
  for (const digest of [secret.digest, digestOf(team)]) {
    assert.equal(await head(node, 'eve/app', digest, EVE), 404)
    const path = `/v2/eve/app/manifests/${digest}`
    assert.equal(await node.statusCode(path, { headers: EVE }), 404)
  }
})

test('CVE-2024-39897: a token is for the repositories it names, also as a source', async t => {
  const node = await openNode(t)
  const { digest } = await pushed(node, 'shared/base', ANN, 'a layer to share')
  const scope = 'scope=repository:eve/app:pull,push'
  assert.equal(await head(node, 'eve/app', digest, await tokenFor(node, scope)), 404)
  const wide = await tokenFor(node, `${scope}&scope=repository:shared/base:pull`)
  assert.equal(await head(node, 'eve/app', digest, wide), 200)
})

test('a pull through a mirror mounts nothing', async t => {
  const node = await openNode(t)
  const { digest } = await pushed(node, 'shared/base', ANN, 'a layer to share')
  const path = `/v2/app/blobs/${digest}?ns=shared`
  assert.equal(await node.statusCode(path, { method: 'HEAD', headers: ANN }), 404)
})

test('switched off, no repository is told of another', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('one')
  await node.ready()
  const { digest } = await pushed(node, 'a', {}, 'a layer')
  assert.equal(await head(node, 'b', digest, {}), 404)
})

interface Pushed {
  readonly bytes: Buffer
  readonly digest: Digest
}

type Headers = Readonly<Record<string, string>>

async function openNode(t: TestContext): Promise<Node> {
  const users = await temporaryFile(t, htpasswd({ ann: 'a', eve: 'e' }))
  const rules = await temporaryFile(t, RULES)
  const nodes = await Nodes.open(t)
  const settings = { htpasswd: users.path, policy: rules.path, mountOnHead: 'on' } as const
  const node = await nodes.start('one', settings)
  await node.logs('readiness changed')
  return node
}

async function pushed(
  node: Node,
  repository: string,
  headers: Headers,
  text: string
): Promise<Pushed> {
  const bytes = Buffer.from(text)
  const digest = digestOf(bytes)
  const path = `/v2/${repository}/blobs/uploads/?digest=${digest}`
  const response = await node.get(path, { method: 'POST', body: bytes, headers })
  assert.equal(response.status, 201, await response.text())
  return { bytes, digest }
}

function head(node: Node, repository: string, digest: Digest, headers: Headers): Promise<number> {
  return node.statusCode(`/v2/${repository}/blobs/${digest}`, { method: 'HEAD', headers })
}

function put(node: Node, repository: string, body: Buffer, headers: Headers): Promise<Response> {
  return node.get(`/v2/${repository}/manifests/v1`, { method: 'PUT', body, headers })
}

async function tokenFor(node: Node, query: string): Promise<Headers> {
  const response = await node.get(`/token?${query}`, { headers: EVE })
  return bearer(((await response.json()) as { token: string }).token)
}
