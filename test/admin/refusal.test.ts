import assert from 'node:assert/strict'
import { link, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { clientOfData, clientOfUrl } from '../../src/admin/client.ts'
import { controlSocket } from '../../src/admin/control.ts'
import { controlOfData } from '../../src/admin/control-client.ts'
import { RegistryClient } from '../../src/admin/registry-client.ts'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { certificate } from '../registry/certificates.ts'

const { signal } = new AbortController()
const DIGEST = digestOf(Buffer.from('blob'))

test('a node with a certificate that nobody here knows is not just silent: it is said what to set', async t => {
  const url = await listen(t, createTlsServer(await certificate('self'), refuseWith(500)), 'https')
  for (const ask of questionsTo(url)) {
    await assert.rejects(ask, error => {
      assert.ok(isCode(error, 'UNAVAILABLE'))
      assert.match(error.message, /^https:.*NODE_EXTRA_CA_CERTS=.*\(DEPTH_ZERO_SELF_SIGNED_CERT\)$/)
      return true
    })
  }
})

test('TLS spoken to a port without it is told from a node that is not there', async t => {
  const url = await listen(t, createServer(refuseWith(500)), 'https')
  for (const ask of questionsTo(url)) await assert.rejects(ask, /try http:\/\/ instead of https:/)
})

test('who is not let in is told how to give a user, or that the one given does not do', async t => {
  const url = await listen(t, createServer(refuseWith(401)), 'http')
  const way = `give them as --url http://USER:PASSWORD@${url.host}`
  for (const ask of questionsTo(url)) {
    await assert.rejects(ask, {
      message: `the node at ${url.origin} wants a user and a password: ${way}`
    })
  }
  url.username = 'ada'
  url.password = 'secret'
  for (const ask of questionsTo(url)) {
    await assert.rejects(ask, error => {
      assert.ok(isCode(error, 'DENIED'))
      assert.match(
        error.message,
        /does not know the user ada, or not with this password: give them/
      )
      assert.doesNotMatch(error.message, /secret/)
      return true
    })
  }
})

test('a command that was given the other port of a node is told which it takes', async t => {
  const registry = await listen(t, createServer(answerAsRegistry), 'http')
  const asked = clientOfUrl(registry).status({ limit: 0 }, signal)
  await assert.rejects(asked, /^StarlingError: http.* is a registry; .* admin address .* 5051/)
  const followed = Array.fromAsync(clientOfUrl(registry).events(false, signal))
  await assert.rejects(followed, /is a registry; .* admin address/)

  const admin = await listen(t, createServer(refuseWith(404)), 'http')
  const repository = RegistryClient.ofUrl(admin).repository('team/app', signal)
  for (const question of [() => repository.manifest('v1'), () => repository.hasBlob(DIGEST)]) {
    await assert.rejects(
      question,
      /^StarlingError: http.* is no registry; .* registry address .* 5050/
    )
  }
})

test('where no node runs it is said how to start one, or to name another', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-test-'))
  t.after(() => rm(dataDir, { recursive: true }))
  for (const ask of [
    clientOfData(dataDir).status({ limit: 0 }, signal),
    Array.fromAsync(clientOfData(dataDir).events(false, signal)),
    controlOfData(dataDir).forget('six', signal),
    RegistryClient.ofData(dataDir).repository('team/app', signal).hasBlob(DIGEST)
  ]) {
    await assert.rejects(ask, error => {
      assert.ok(isCode(error, 'UNAVAILABLE'))
      assert.match(error.message, /control\.sock: ENOENT; start one with `serve`, or give --data /)
      return true
    })
  }
})

test('a socket that a killed node left behind is as one that is not there', async t => {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-test-'))
  t.after(() => rm(dataDir, { recursive: true }))
  await leaveSocket(controlSocket(dataDir))
  const ask = clientOfData(dataDir).status({ limit: 0 }, signal)
  await assert.rejects(ask, /control\.sock: ECONNREFUSED; start one with `serve`/)
})

/** One after the other, of the admin port and of the registry. */
function* questionsTo(url: URL): Generator<Promise<unknown>, void> {
  yield clientOfUrl(url).status({ limit: 0 }, signal)
  yield Array.fromAsync(clientOfUrl(url).events(false, signal))
  yield RegistryClient.ofUrl(url).repository('team/app', signal).hasBlob(DIGEST)
}

const answerAsRegistry: RequestListener = (_request, response) => {
  response.writeHead(404, { 'docker-distribution-api-version': 'registry/2.0' }).end('{}')
}

function refuseWith(status: number): RequestListener {
  return (_request, response) => {
    response.writeHead(status).end('{}')
  }
}

async function listen(t: TestContext, server: Server, scheme: string): Promise<URL> {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  return new URL(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

/** Node.js removes the socket of a server that it closes, but not another name of it. */
async function leaveSocket(path: string): Promise<void> {
  const server = createServer(refuseWith(500))
  await new Promise<void>(resolve => server.listen(`${path}.first`, resolve))
  await link(`${path}.first`, path)
  await new Promise<void>(resolve => server.close(() => resolve()))
}
