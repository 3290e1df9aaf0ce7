import assert from 'node:assert/strict'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import fc from 'fast-check'
import { isCode } from '../../src/errors.ts'
import { parseReference, parseRepository, tryRepository } from '../../src/registry/names.ts'
import { NOWHERE, parsePath, ROUTES, rewriteUrl } from '../../src/registry/path.ts'
import { openRegistry, openSocket } from '../registry/fixture.ts'

const RUNS = 2_000
/** Each of these is a connection. */
const WIRE_RUNS = 150

const word = fc.stringMatching(/^[a-z0-9]{1,8}$/)
const component = fc
  .array(word, { minLength: 1, maxLength: 3 })
  .chain(words => fc.constantFrom('.', '_', '__', '-', '--').map(joint => words.join(joint)))
const repository = fc
  .array(fc.oneof(component, fc.constantFrom('blobs', 'manifests', 'tags', 'list', 'uploads')), {
    minLength: 1,
    maxLength: 5
  })
  .map(components => components.join('/'))
const digest = fc
  .tuple(fc.constantFrom('sha256', 'sha512'), fc.stringMatching(/^[0-9a-f]{128}$/))
  .map(([algorithm, hex]) => `${algorithm}:${algorithm === 'sha256' ? hex.slice(64) : hex}`)
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/)

/** Pieces that paths have been taken apart wrongly at, among any others. */
const piece = fc.oneof(
  fc.constantFrom(
    ...['v2', 'blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', '_catalog', '_oci'],
    ...['', '.', '..', '%2e%2e', '%2f', '%5c', '%00', '%0d%0a', '%', '%zz', '%c3', '\\', ';', '//'],
    ...['__proto__', 'constructor', '$&', '?', '#', '?ns=', 'ns=docker.io', 'http://h/', ':', '@']
  ),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.string({ maxLength: 12 })
)
const hostilePath = fc
  .array(piece, { maxLength: 10 })
  .chain(pieces => fc.constantFrom('/', '').map(joint => `/v2/${pieces.join(joint)}`))

test('every endpoint of every valid name is found again, whatever the name looks like', () => {
  const endpoints = fc.oneof(
    fc.tuple(fc.constant('blob'), digest),
    fc.tuple(fc.constant('referrers'), digest),
    fc.tuple(fc.constant('manifest'), fc.oneof(digest, tag))
  ) as fc.Arbitrary<['blob' | 'referrers' | 'manifest', string]>
  fc.assert(
    fc.property(repository, endpoints, (name, [kind, last]) => {
      // An upload whose id is a tag's name cannot be told from one; ids are the store's own.
      fc.pre(!(kind === 'blob' && last === 'uploads'))
      assert.ok(tryRepository(name))
      const path = ROUTES[kind].replace(':name', name).replace(':last', last)
      assert.deepEqual(parsePath(path), { kind, name, last })
      assert.deepEqual(parsePath(path.replace(':', '%3A')), { kind, name, last })
    }),
    { numRuns: RUNS }
  )
})

test('any path is an endpoint whose parts it really has, or none', () => {
  fc.assert(
    fc.property(hostilePath, path => {
      const endpoint = parsePath(path)
      if (endpoint === undefined || !('name' in endpoint)) return
      assert.ok(path.startsWith(`/v2/${endpoint.name}/`), 'the name is as it was written')
    }),
    { numRuns: RUNS }
  )
})

test('any URL is routed as one endpoint with the same parts, and can be decoded', () => {
  fc.assert(
    fc.property(hostilePath, url => {
      const [routed = ''] = rewriteUrl(url).split(/[?#]/)
      const [path = ''] = url.split(/[?#]/)
      const endpoint = parsePath(path)
      if (endpoint === undefined) return assert.equal(routed, NOWHERE)
      const pattern = ROUTES[endpoint.kind]
      const [parts, names] = [routed.split('/'), pattern.split('/')]
      assert.equal(parts.length, names.length, 'no part of a client reaches into another')
      for (const [index, name] of names.entries()) {
        const part = decodeURIComponent(parts[index] ?? '')
        if (name === ':name' && 'name' in endpoint) assert.ok(part.endsWith(endpoint.name))
        else if (name === ':last' && 'last' in endpoint) assert.equal(part, endpoint.last)
        else assert.equal(part, name)
      }
    }),
    { numRuns: RUNS }
  )
})

test('a name or a reference that is let through has nothing that a path could be made of', () => {
  fc.assert(
    fc.property(fc.oneof(piece, repository, hostilePath), given => {
      const name = attempt(() => parseRepository(given), 'NAME_INVALID')
      if (name !== undefined) {
        assert.match(name, /^[a-z0-9][a-z0-9._/-]*$/)
        assert.ok(!name.split('/').some(part => part === '' || /^\.|\.\.|\.$/.test(part)))
      }
      const reference =
        given.includes(':') && attempt(() => parseReference(given), 'DIGEST_INVALID')
      if (reference) assert.match(reference, /^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/)
    }),
    { numRuns: RUNS }
  )
})

test('a server that is sent any bytes answers with a status of the client or cuts off, and goes on', async t => {
  const registry = await openRegistry(t)
  const line = fc
    .tuple(fc.constantFrom('GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'BREW'), hostilePath)
    .map(([method, path]) => Buffer.from(`${method} ${path} HTTP/1.1\r\n`, 'latin1'))
  const header = fc
    .tuple(
      fc.constantFrom('range', 'content-range', 'content-length', 'transfer-encoding', 'expect'),
      fc.oneof(fc.string({ maxLength: 30 }), fc.constantFrom('chunked', '-1', '0', '99999999999'))
    )
    .map(([name, value]) => Buffer.from(`${name}: ${value}\r\n`, 'latin1'))
  const request = fc
    .tuple(line, fc.array(header, { maxLength: 3 }), fc.uint8Array({ maxLength: 64 }))
    .map(([first, headers, rest]) => {
      const host = Buffer.from('host: x\r\nconnection: close\r\n')
      return Buffer.concat([first, host, ...headers, Buffer.from('\r\n'), rest])
    })
  await fc.assert(
    fc.asyncProperty(fc.oneof(request, fc.uint8Array({ maxLength: 200 })), async bytes => {
      const socket = await openSocket(t, registry)
      socket.end(bytes)
      const answer = await text(socket).catch(() => '')
      const status = /^HTTP\/1\.1 (\d)\d\d /.exec(answer)?.[1]
      assert.notEqual(status, '5', answer)
    }),
    { numRuns: WIRE_RUNS }
  )
  assert.equal((await fetch(`${registry.url}/v2/`)).status, 200)
  assert.equal(registry.content.blobs.size + registry.content.manifests.size, 0)
})

/** What is refused is refused with this code, never with an error of another kind. */
function attempt<Result>(
  parse: () => Result,
  code: 'NAME_INVALID' | 'DIGEST_INVALID'
): Result | undefined {
  try {
    return parse()
  } catch (error) {
    assert.ok(isCode(error, code), `${error}`)
    return undefined
  }
}
