/** Archives behind URLs, on servers that are well, slow, wrong or gone. */
import assert from 'node:assert/strict'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { download } from '../../src/admin/archive/download.ts'
import { isCode } from '../../src/errors.ts'
import { certificate } from '../registry/certificates.ts'

const BYTES = Buffer.alloc(3_000_000, 'archive')
const { signal } = new AbortController()

test('a file is read as it comes, with its length if the server says it', async t => {
  const url = await serve(t, (_request, response) => {
    response.setHeader('content-length', BYTES.length)
    response.end(BYTES)
  })
  const { sizeBytes, bytes } = await download(url, signal)
  assert.equal(sizeBytes, BYTES.length)
  assert.deepEqual(await buffer(bytes), BYTES)
})

test('redirects are followed, with the password only to the same host, and not for ever', async t => {
  const seen: (string | undefined)[] = []
  const other = await serve(t, (request, response) => {
    seen.push(request.headers.authorization)
    response.end('there')
  })
  const url = await serve(t, (request, response) => {
    seen.push(request.headers.authorization)
    const to =
      { '/a': '/b', '/b': other.href, '/round': '/round' }[request.url ?? ''] ?? 'file:///x'
    response.writeHead(302, { location: to }).end()
  })
  url.username = 'ada'
  url.password = 'secret'
  const { bytes } = await download(new URL('/a', url), signal)
  assert.equal((await buffer(bytes)).toString(), 'there')
  const basic = `Basic ${Buffer.from('ada:secret').toString('base64')}`
  assert.deepEqual(seen, [basic, basic, undefined])
  await assert.rejects(download(new URL('/round', url), signal), /redirected more than 10 times/)
  await assert.rejects(download(new URL('/x', url), signal), /file:\/\/\/x, which is no http/)
})

test('a refusal says what the server answered and what to do', async t => {
  const url = await serve(t, (request, response) => {
    response.writeHead(Number(request.url?.slice(1))).end()
  })
  const answers: readonly (readonly [number, RegExp])[] = [
    [401, /answered 401; give a user and a password as https:\/\/USER:PASSWORD@HOST/],
    [404, /answered 404; look whether the address is right/],
    [503, /answered 503; try again later/]
  ]
  for (const [status, words] of answers) {
    await assert.rejects(download(new URL(`/${status}`, url), signal), error => {
      assert.ok(isCode(error, 'PEER_FAILED'))
      assert.match(error.message, words)
      return true
    })
  }
})

test('a connection that breaks off is told apart from a short file, with what to do', async t => {
  for (const length of [{ 'content-length': BYTES.length * 2 }, {}]) {
    const url = await serve(t, (_request, response) => {
      response.writeHead(200, length)
      response.write(BYTES, () => response.destroy())
    })
    const { bytes } = await download(url, signal)
    await assert.rejects(buffer(bytes), error => {
      assert.ok(isCode(error, 'PEER_FAILED'))
      assert.match(error.message, /broke off after .*: what has been stored is not sent twice/)
      return true
    })
  }
})

test('a server that falls silent is given up, before it has answered or in the middle', async t => {
  const never = await serve(t, () => undefined)
  await assert.rejects(download(never, signal, 10), /said nothing for 0\.01 s/)
  const stuck = await serve(t, (_request, response) => response.write('some'))
  const { bytes } = await download(stuck, signal, 10)
  await assert.rejects(buffer(bytes), /broke off after 4 B .*said nothing for 0\.01 s/)
})

test('a server that is not there, or whom nobody here knows, is said to be', async t => {
  const server = createServer()
  const gone = await listen(t, server, 'http')
  await new Promise(resolve => server.close(resolve))
  await assert.rejects(download(gone, signal), /cannot be read: ECONNREFUSED$/)
  const pair = await certificate('self')
  const tls = await listen(t, createTlsServer(pair), 'https')
  await assert.rejects(download(tls, signal), /NODE_EXTRA_CA_CERTS=/)
})

function serve(t: TestContext, listener: RequestListener): Promise<URL> {
  return listen(t, createServer(listener), 'http')
}

async function listen(t: TestContext, server: Server, scheme: string): Promise<URL> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    if ('closeAllConnections' in server)
      (server as ReturnType<typeof createServer>).closeAllConnections()
  })
  return new URL(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`)
}
