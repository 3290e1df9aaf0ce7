import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http'
import { imageManifest } from './mixed-image.ts'

/** A push of a new image, a pull of one that is there, a question for its manifest. */
export const KINDS = ['push', 'pull', 'ask'] as const
export type Kind = (typeof KINDS)[number]

/** How many of a hundred operations are of each kind. */
export type Load = Readonly<Record<Kind, number>>

export interface MixedClientOptions {
  readonly port: number
  readonly connections: number
  readonly sizeBytes: number
  readonly load: Load
}

export interface Done {
  readonly operations: number
  readonly seconds: number
  readonly latenciesMs: ReadonlyMap<Kind, readonly number[]>
}

interface Image {
  readonly tag: string
  readonly blobs: readonly string[]
}

const REPOSITORY = 'bench/mixed'
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG = Buffer.from('{"architecture":"amd64","os":"linux"}')
/** What is pulled, besides what has just been pushed. */
const FIRST_IMAGES = 4

/** Several clients of one server at once, each on a connection of its own. */
export class MixedClient {
  readonly #options: MixedClientOptions
  readonly #agent: Agent
  readonly #layer: Buffer
  readonly #images: Image[] = []
  #pushes = 0
  #chosen = 0

  /** Opens it and pushes the first images. Throws when an answer is not as it should be. */
  static async open(options: MixedClientOptions): Promise<MixedClient> {
    const client = new MixedClient(options)
    for (let number = 0; number < FIRST_IMAGES; number++) await client.#push()
    return client
  }

  private constructor(options: MixedClientOptions) {
    this.#options = options
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.connections })
    this.#layer = Buffer.alloc(options.sizeBytes, 'starling')
    // Images of another run on the same server have other bytes.
    this.#layer.writeDoubleBE(performance.timeOrigin + performance.now(), 0)
  }

  /** Runs the mix for a while; operations that have begun by then end and count. */
  async run(runMs: number): Promise<Done> {
    const latenciesMs = new Map<Kind, number[]>()
    const startedMs = performance.now()
    const lane = async () => {
      while (performance.now() - startedMs < runMs) {
        const kind = this.#choose()
        const beganMs = performance.now()
        await this.#do(kind)
        const all = latenciesMs.get(kind) ?? []
        latenciesMs.set(kind, all)
        all.push(performance.now() - beganMs)
      }
    }
    await Promise.all(Array.from({ length: this.#options.connections }, lane))
    const seconds = (performance.now() - startedMs) / 1000
    const operations = [...latenciesMs.values()].reduce((sum, each) => sum + each.length, 0)
    return { operations, seconds, latenciesMs }
  }

  close(): void {
    this.#agent.destroy()
  }

  /** The kinds in turn, as often as each should be and well mixed: 37 and 100 share no divisor. */
  #choose(): Kind {
    const { push, pull } = this.#options.load
    const at = (this.#chosen++ * 37) % 100
    if (at < push) return 'push'
    return at < push + pull ? 'pull' : 'ask'
  }

  #do(kind: Kind): Promise<void> {
    switch (kind) {
      case 'push':
        return this.#push()
      case 'pull':
        return this.#pull()
      case 'ask':
        return this.#ask()
    }
  }

  async #push(): Promise<void> {
    const number = this.#pushes++
    const layer = Buffer.from(this.#layer)
    layer.writeUInt32BE(number, 8)
    const blobs = [await this.#pushBlob(CONFIG), await this.#pushBlob(layer)]
    const tag = `v${number}`
    const body = imageManifest([CONFIG, layer], blobs)
    await this.#send('PUT', `manifests/${tag}`, 201, { 'content-type': MANIFEST_TYPE }, body)
    this.#images.push({ tag, blobs })
  }

  async #pushBlob(bytes: Buffer): Promise<string> {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    const { headers } = await this.#send('POST', 'blobs/uploads/', 202)
    const location = new URL(headers.location ?? '', this.#origin)
    location.searchParams.set('digest', digest)
    const path = location.pathname + location.search
    await this.#send('PUT', path, 201, { 'content-type': 'application/octet-stream' }, bytes)
    return digest
  }

  async #pull(): Promise<void> {
    const { tag, blobs } = this.#some()
    await this.#send('GET', `manifests/${tag}`, 200)
    for (const digest of blobs) await this.#send('GET', `blobs/${digest}`, 200)
  }

  async #ask(): Promise<void> {
    await this.#send('HEAD', `manifests/${this.#some().tag}`, 200)
  }

  /** Any of the images, each as often as the others. */
  #some(): Image {
    const image = this.#images[(this.#chosen * 7) % this.#images.length]
    if (image === undefined) throw new Error('no image has been pushed')
    return image
  }

  get #origin(): string {
    return `http://127.0.0.1:${this.#options.port}`
  }

  /** One request, whose answer is read to its end and dropped. */
  async #send(
    method: string,
    path: string,
    expected: number,
    headers: OutgoingHttpHeaders = {},
    body?: Buffer
  ): Promise<IncomingMessage> {
    const sent = request({
      ...{ host: '127.0.0.1', port: this.#options.port, agent: this.#agent, method },
      path: path.startsWith('/') ? path : `/v2/${REPOSITORY}/${path}`,
      headers: { accept: MANIFEST_TYPE, 'content-length': body?.length ?? 0, ...headers }
    })
    sent.end(body)
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    response.resume()
    await once(response, 'end')
    if (response.statusCode === expected) return response
    throw new Error(`${method} ${path}: ${response.statusCode}`)
  }
}
