import assert from 'node:assert/strict'
import { test } from 'node:test'
import { assertError, openRegistry, putImage, type Registry } from './fixture.ts'

async function tag(
  registry: Registry,
  repository: string,
  names: readonly string[]
): Promise<void> {
  for (const name of names) {
    const body = putImage(registry.content, 'x')
    const url = `${registry.url}/v2/${repository}/manifests/${name}`
    assert.equal((await fetch(url, { method: 'PUT', body })).status, 201)
  }
}

const NAMES = ['B', '1', 'a', 'latest', '_x', 'a-b', 'a.b']
const SORTED = ['1', 'B', '_x', 'a', 'a-b', 'a.b', 'latest']

test('tags are listed in byte order, page by page, each once', async t => {
  const registry = await openRegistry(t)
  await tag(registry, 'team/app', NAMES)
  await tag(registry, 'team/app2', ['other'])
  for (const n of [1, 2, 3, 7, 1000, 10 ** 20]) {
    const seen: string[] = []
    let path = `/v2/team/app/tags/list?n=${n}`
    while (path !== '') {
      const response = await fetch(registry.url + path)
      assert.equal(response.headers.get('content-type'), 'application/json')
      const { name, tags } = JSON.parse(await response.text())
      assert.equal(name, 'team/app')
      assert.ok(tags.length > 0 && tags.length <= n)
      seen.push(...tags)
      path = response.headers.get('link')?.match(/^<(\/v2\/.*)>; rel="next"$/)?.[1] ?? ''
    }
    assert.deepEqual(seen, SORTED)
  }
})

test('n=0 is an empty list without a Link, last needs neither n nor to exist', async t => {
  const registry = await openRegistry(t)
  await tag(registry, 'a', NAMES)
  const get = (query: string) => fetch(`${registry.url}/v2/a/tags/list?${query}`)
  const none = await get('n=0')
  assert.equal(none.headers.get('link'), null)
  assert.deepEqual(JSON.parse(await none.text()).tags, [])
  assert.deepEqual(JSON.parse(await (await get('last=a')).text()).tags, SORTED.slice(4))
  assert.deepEqual(JSON.parse(await (await get('last=a%2Ba')).text()).tags, SORTED.slice(4))
  assert.deepEqual(JSON.parse(await (await get('last=zzz')).text()).tags, [])
  for (const n of ['-1', 'x', '1.5', '', '1e3']) {
    await assertError(await get(`n=${n}`), 400, 'PAGINATION_NUMBER_INVALID')
  }
})

test('the tags of an unknown repository are 404', async t => {
  const { url } = await openRegistry(t)
  await assertError(await fetch(`${url}/v2/nobody/tags/list`), 404, 'NAME_UNKNOWN')
  await assertError(await fetch(`${url}/v2/nobody/tags/list?n=0`), 404, 'NAME_UNKNOWN')
})

test('the catalog lists the repositories in byte order, page by page', async t => {
  const registry = await openRegistry(t)
  assert.deepEqual(JSON.parse(await (await fetch(`${registry.url}/v2/_catalog`)).text()), {
    repositories: []
  })
  for (const name of ['b', 'a/x', 'a-b']) await tag(registry, name, ['v1'])
  const first = await fetch(`${registry.url}/v2/_catalog?n=2`)
  assert.deepEqual(JSON.parse(await first.text()), { repositories: ['a-b', 'a/x'] })
  assert.equal(first.headers.get('link'), '</v2/_catalog?n=2&last=a%2Fx>; rel="next"')
  const rest = await fetch(`${registry.url}/v2/_catalog?n=2&last=a%2Fx`)
  assert.deepEqual(JSON.parse(await rest.text()), { repositories: ['b'] })
  assert.equal(rest.headers.get('link'), null)
})
