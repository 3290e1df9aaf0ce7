/**
 * What Zarf asks of the registry in its cluster, request by request, as its sources have it: a
 * package is deployed by oras-go with the push user, and what no package uses any more is pruned.
 * The registry is a real node with a push user and a pull user, as Zarf sets its own up.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { Daemon } from '../helpers/daemon.ts'
import { basic, htpasswd } from './auth/fixture.ts'
import { descriptor, imageManifest, OCI_IMAGE, OCI_INDEX } from './fixture.ts'

const REPOSITORY = 'stefanprodan/podinfo'
const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json'
/** What oras-go accepts of a manifest that it only wants to know of. */
const ANY_MANIFEST = [
  ...[DOCKER_IMAGE, 'application/vnd.docker.distribution.manifest.list.v2+json'],
  ...[OCI_INDEX, OCI_IMAGE, 'application/vnd.oci.artifact.manifest.v1+json']
].join(', ')
const PUSH_USER = basic('zarf-push', 'push-secret')
const PULL_USER = basic('zarf-pull', 'pull-secret')

const CONFIG = Buffer.from('{"architecture":"amd64","os":"linux"}')
const LAYERS = [Buffer.alloc(300_000, 'one'), Buffer.alloc(1_000, 'two')] as const
const IMAGE = Buffer.from(
  JSON.stringify({
    ...JSON.parse(String(imageManifest(CONFIG, LAYERS[0]))),
    layers: LAYERS.map(layer => descriptor('application/vnd.oci.image.layer.v1.tar+gzip', layer))
  })
)

let directory: string
let node: Daemon

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'starling-zarf-'))
  const users = join(directory, 'htpasswd')
  // Zarf writes the lines of both users into one value, with the two characters "\n" between them.
  const lines = htpasswd({ 'zarf-push': 'push-secret', 'zarf-pull': 'pull-secret' })
  await writeFile(users, lines.trimEnd().replaceAll('\n', '\\n'))
  const flags = ['--htpasswd', users]
  node = await Daemon.start({ name: 'one', dataDir: join(directory, 'data'), flags })
  await node.ready()
})

after(async () => {
  await node?.stop()
  await rm(directory, { recursive: true, force: true })
})

function send(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: Buffer
): Promise<Response> {
  const url = new URL(path, `http://${node.addresses.registry}`)
  return fetch(url, { method, headers: { ...PUSH_USER, ...headers }, ...(body && { body }) })
}

/** One blob as oras-go pushes it: no PATCH, no mount, the body in the request that closes. */
async function pushBlob(repository: string, bytes: Buffer): Promise<void> {
  const digest = digestOf(bytes)
  const head = await send('HEAD', `/v2/${repository}/blobs/${digest}`)
  if (head.status === 200) {
    assert.equal(head.headers.get('content-length'), String(bytes.length))
    return
  }
  assert.equal(head.status, 404)
  const started = await send('POST', `/v2/${repository}/blobs/uploads/`, { 'content-length': '0' })
  assert.equal(started.status, 202)
  const location = started.headers.get('location') ?? ''
  const query = `${location.includes('?') ? '&' : '?'}digest=${encodeURIComponent(digest)}`
  const type = { 'content-type': 'application/octet-stream' }
  const closed = await send('PUT', location + query, type, bytes)
  assert.equal(closed.status, 201)
}

/** Both references of an image; what is there already is not pushed again. */
async function deploy(
  repository: string,
  tags: readonly string[],
  manifest: Buffer,
  blobs: readonly Buffer[],
  mediaType = OCI_IMAGE
): Promise<number> {
  const digest = digestOf(manifest)
  let pushes = 0
  for (const tag of tags) {
    const path = `/v2/${repository}/manifests/${digest}`
    const head = await send('HEAD', path, { accept: ANY_MANIFEST })
    if (head.status !== 200) {
      assert.equal(head.status, 404)
      await Promise.all(blobs.map(blob => pushBlob(repository, blob)))
      const put = await send('PUT', path, { 'content-type': mediaType }, manifest)
      assert.equal(put.status, 201)
      assert.equal(put.headers.get('docker-content-digest'), digest)
      pushes += 1
    }
    // Tagging: what is there is read with its own type and put again under the name.
    const read = await send('GET', path, { accept: mediaType })
    assert.equal(read.headers.get('content-type'), mediaType)
    const bytes = Buffer.from(await read.arrayBuffer())
    assert.deepEqual(bytes, manifest)
    const tagged = await send(
      'PUT',
      `/v2/${repository}/manifests/${tag}`,
      { 'content-type': mediaType },
      bytes
    )
    assert.equal(tagged.status, 201)
  }
  return pushes
}

test('the chart probes /, and the tunnel is found open by the catalog', async () => {
  const url = `http://${node.addresses.registry}`
  assert.equal((await fetch(`${url}/`)).status, 200)
  const ping = await fetch(`${url}/v2/`)
  assert.equal(ping.status, 401)
  assert.match(ping.headers.get('www-authenticate') ?? '', /^Basic realm="/)
  assert.equal((await send('GET', '/v2/_catalog', PULL_USER)).status, 200)
})

test('a package is deployed: each image under its two tags, its blobs pushed once', async () => {
  const tags = ['6.4.0-zarf-2985051089', '6.4.0']
  assert.equal(await deploy(REPOSITORY, tags, IMAGE, [CONFIG, ...LAYERS]), 1)
  // A second deploy finds everything, and so does one of another package with the same image.
  assert.equal(await deploy(REPOSITORY, tags, IMAGE, []), 0)
  for (const tag of tags) {
    const pulled = await send('GET', `/v2/${REPOSITORY}/manifests/${tag}`, PULL_USER)
    assert.equal(digestOf(Buffer.from(await pulled.arrayBuffer())), digestOf(IMAGE))
  }
})

test('an image of Docker schema 2 keeps its type, and an index comes after its children', async () => {
  const docker = Buffer.from(
    JSON.stringify({ ...JSON.parse(String(IMAGE)), mediaType: DOCKER_IMAGE })
  )
  const blobs = [CONFIG, ...LAYERS]
  assert.equal(await deploy('docker/app', ['1'], docker, blobs, DOCKER_IMAGE), 1)

  const index = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: OCI_INDEX },
      manifests: [descriptor(OCI_IMAGE, IMAGE)]
    })
  )
  const indexPath = `/v2/multi/app/manifests/${digestOf(index)}`
  assert.equal((await send('HEAD', indexPath, { accept: ANY_MANIFEST })).status, 404)
  for (const blob of blobs) await pushBlob('multi/app', blob)
  const child = `/v2/multi/app/manifests/${digestOf(IMAGE)}`
  assert.equal((await send('HEAD', child, { accept: ANY_MANIFEST })).status, 404)
  assert.equal((await send('PUT', child, { 'content-type': OCI_IMAGE }, IMAGE)).status, 201)
  assert.equal(await deploy('multi/app', ['1-zarf-1', '1'], index, [], OCI_INDEX), 1)
})

test('a signature with a subject is one of its image, and no tag is made for a list of them', async () => {
  const empty = Buffer.from('{}')
  const signature = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: OCI_IMAGE, artifactType: 'application/vnd.example.sig' },
      ...{ config: descriptor('application/vnd.oci.empty.v1+json', empty), layers: [] },
      subject: descriptor(OCI_IMAGE, IMAGE)
    })
  )
  await pushBlob(REPOSITORY, empty)
  const path = `/v2/${REPOSITORY}/manifests/${digestOf(signature)}`
  const put = await send('PUT', path, { 'content-type': OCI_IMAGE }, signature)
  // Without this header oras-go falls back to a tag of the subject's digest.
  assert.equal(put.headers.get('oci-subject'), digestOf(IMAGE))
  const referrers = await send('GET', `/v2/${REPOSITORY}/referrers/${digestOf(IMAGE)}`, PULL_USER)
  assert.equal(referrers.headers.get('content-type'), OCI_INDEX)
  const { manifests } = JSON.parse(await referrers.text())
  assert.deepEqual(
    manifests.map(({ digest }: { digest: string }) => digest),
    [digestOf(signature)]
  )
})

test('the pull user reads and lists; a wrong password is 401', async () => {
  const path = `/v2/${REPOSITORY}/tags/list?n=1000`
  const listed = await send('GET', path, PULL_USER)
  assert.deepEqual(JSON.parse(await listed.text()), {
    name: REPOSITORY,
    tags: ['6.4.0', '6.4.0-zarf-2985051089']
  })
  assert.equal((await send('GET', path, basic('zarf-pull', 'wrong'))).status, 401)
})

test('prune deletes, by digest, the images that no deployed package has, and nothing else', async () => {
  const old = imageManifest(CONFIG, LAYERS[1])
  await deploy(REPOSITORY, ['6.3.0-zarf-1', '6.3.0'], old, [CONFIG, LAYERS[1]])

  // The images of the packages that are deployed, by their plain tags.
  const used = new Set<string | null>()
  for (const reference of [`${REPOSITORY}:6.4.0`, 'docker/app:1', 'multi/app:1']) {
    used.add(await digestAt(reference))
  }
  const pruned = new Map<string, string>()
  for (const repository of await repositories()) {
    const listed = await send('GET', `/v2/${repository}/tags/list?n=1000`)
    for (const tag of JSON.parse(await listed.text()).tags as string[]) {
      const digest = await digestAt(`${repository}:${tag}`)
      assert.ok(digest)
      if (!used.has(digest)) pruned.set(`/v2/${repository}/manifests/${digest}`, digest)
    }
  }
  assert.deepEqual([...pruned.values()], [digestOf(old)])
  for (const path of pruned.keys()) assert.equal((await send('DELETE', path)).status, 202)

  for (const tag of ['6.3.0-zarf-1', '6.3.0']) {
    const path = `/v2/${REPOSITORY}/manifests/${tag}`
    assert.equal((await send('HEAD', path, { accept: ANY_MANIFEST })).status, 404)
    // After a 404 the client asks again with GET, and wants to read why.
    const gone = await send('GET', path, { accept: ANY_MANIFEST })
    assert.equal(JSON.parse(await gone.text()).errors[0].code, 'MANIFEST_UNKNOWN')
  }
  assert.equal(await digestAt(`${REPOSITORY}:6.4.0`), digestOf(IMAGE))
  const again = await send('DELETE', [...pruned.keys()][0] ?? '')
  assert.equal(again.status, 404)
})

/** As crane asks for a digest. */
async function digestAt(reference: string): Promise<string | null> {
  const path = `/v2/${reference.replace(':', '/manifests/')}`
  const head = await send('HEAD', path, { accept: ANY_MANIFEST })
  assert.equal(head.status, 200)
  return head.headers.get('docker-content-digest')
}

/** The catalog as crane reads it, page by page, small ones here so that there are several. */
async function repositories(): Promise<string[]> {
  const found: string[] = []
  for (let path: string | undefined = '/v2/_catalog?n=2'; path !== undefined; ) {
    const page = await send('GET', path)
    found.push(...(JSON.parse(await page.text()).repositories as string[]))
    path = /^<([^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
  }
  return found
}
