import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { type Digest, digestOf } from '../../src/digest.ts'
import { silentLog } from '../../src/log.ts'
import { type RegistryOptions, RegistryServer } from '../../src/registry/server.ts'
import { MemoryContent } from '../helpers/memory-content.ts'

export const OCI_IMAGE = 'application/vnd.oci.image.manifest.v1+json'
export const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'

export interface Registry {
  readonly content: MemoryContent
  readonly server: RegistryServer
  readonly port: number
  readonly url: string
}

/** A registry over memory on a free port; closed when the test ends. */
export async function openRegistry(
  t: TestContext,
  options: Partial<RegistryOptions> = {}
): Promise<Registry> {
  const content = new MemoryContent()
  const listen = [{ host: '127.0.0.1', port: 0 }]
  const server = await RegistryServer.open({ listen, content, log: silentLog, ...options })
  t.after(() => server.close({ deadlineMs: 0 }))
  const port = server.addresses[0]?.port ?? 0
  return { content, server, port, url: `http://127.0.0.1:${port}` }
}

/** An OCI image of one config and one layer, whose blobs are put into the content directly. */
export function putImage(content: MemoryContent, seed: string): Buffer {
  const [config, layer] = [Buffer.from(`{"seed":"${seed}"}`), Buffer.from(`layer of ${seed}`)]
  for (const blob of [config, layer]) content.blobs.set(digestOf(blob), blob)
  return imageManifest(config, layer)
}

/** A blob that the registry has. */
export function putBlob(
  { content }: Registry,
  sizeBytes: number
): { readonly bytes: Buffer; readonly digest: Digest; readonly path: string } {
  const bytes = Buffer.alloc(sizeBytes, 'blob')
  const digest = digestOf(bytes)
  content.blobs.set(digest, bytes)
  return { bytes, digest, path: `/v2/a/blobs/${digest}` }
}

export function imageManifest(config: Buffer, layer: Buffer): Buffer {
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_IMAGE,
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: [descriptor('application/vnd.oci.image.layer.v1.tar+gzip', layer)]
  }
  return Buffer.from(JSON.stringify(manifest))
}

export function descriptor(mediaType: string, bytes: Buffer): Record<string, unknown> {
  return { mediaType, digest: digestOf(bytes), size: bytes.length }
}

/** Checks an OCI error body: its status, its first code, its form, and the exact media type. */
export async function assertError(response: Response, status: number, code: string): Promise<void> {
  const body = await response.text()
  assert.equal(response.status, status, body)
  assert.equal(response.headers.get('content-type'), 'application/json')
  const { errors } = JSON.parse(body)
  assert.equal(errors[0].code, code, body)
  assert.equal(typeof errors[0].message, 'string')
}

/** Begins an upload, and gives where it goes on. */
export async function beginUpload(registry: Registry): Promise<string> {
  const response = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST' })
  return locationOf(registry, response)
}

/** The `Location` of an answer, which must be relative to the registry. */
export function locationOf(registry: Registry, response: Response): string {
  const location = response.headers.get('location') ?? ''
  assert.match(location, /^\/v2\//)
  return registry.url + location
}

/** A connection without an HTTP client's courtesies. */
export async function openSocket(t: TestContext, registry: Registry): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: registry.port, allowHalfOpen: true })
  t.after(() => socket.destroy())
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return socket
}

/** Sends bytes as they are and gives what comes back until the server closes. */
export async function exchange(
  t: TestContext,
  registry: Registry,
  bytes: string | Uint8Array
): Promise<string> {
  const socket = await openSocket(t, registry)
  socket.write(bytes)
  return text(socket)
}
