import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import type { StatusDocument } from '../../src/admin/status.ts'
import { loadConfig } from '../../src/config.ts'
import { Daemon } from '../../src/daemon.ts'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import type { MadeImage } from '../../src/demo/image.ts'
import { sampleOf } from '../helpers/prometheus.ts'
import { sureStatus } from '../helpers/sure-status.ts'
import { until } from '../helpers/until.ts'

/** What differs from one node of a test to another: settings, as on the command line. */
export interface NodeSettings {
  readonly join?: readonly string[]
  readonly secretFile?: string
  readonly deadAfter?: string
  readonly aloneAfter?: string
  readonly forgetAfter?: string
  readonly lease?: string
  readonly gcGrace?: string
  readonly htpasswd?: string
  readonly policy?: string
  readonly mountOnHead?: 'on'
  readonly hold?: 'none'
  /** Whether its disk is to be over the limit from the start. */
  readonly full?: boolean
  /** Another directory than the one that goes with the name. */
  readonly data?: string
  /** Where to listen, if not on free ports; the mesh so that those who joined through it find it. */
  readonly mesh?: string
  readonly registry?: readonly string[]
  readonly admin?: string
  readonly transfer?: string
}

const LOOK_MS = 20
const PLANES = ['registry', 'admin', 'transfer'] as const

/** Whole nodes in this process, in one temporary directory, gone when the test ends. */
export class Nodes {
  readonly directory: string
  readonly secretFile: string
  readonly #context: TestContext

  static async open(context: TestContext): Promise<Nodes> {
    const directory = await mkdtemp(join(tmpdir(), 'starling-nodes-'))
    const nodes = new Nodes(context, directory)
    context.after(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }))
    await nodes.writeSecret('secret', 'a secret of this test only')
    return nodes
  }

  private constructor(context: TestContext, directory: string) {
    this.#context = context
    this.directory = directory
    this.secretFile = join(directory, 'secret')
  }

  async writeSecret(name: string, secret: string): Promise<string> {
    const file = join(this.directory, name)
    await writeFile(file, `${secret}\n`, { mode: 0o600 })
    return file
  }

  dataDir(name: string): string {
    return join(this.directory, name)
  }

  /** Starts a node; it need not be ready yet. */
  async start(name: string, { full = false, ...settings }: NodeSettings = {}): Promise<Node> {
    const { config } = await loadConfig(
      {
        ...{ name, data: this.dataDir(name), secretFile: this.secretFile },
        ...Object.fromEntries(PLANES.map(plane => [plane, '127.0.0.1:0'])),
        ...{ registry: ['127.0.0.1:0'], mesh: '127.0.0.1:0' },
        ...settings
      },
      {}
    )
    const lines: string[] = []
    const log = pino({ level: 'info' }, { write: line => void lines.push(line) })
    const maxDiskShare = full ? 0 : 1
    const daemon = await Daemon.start({ ...config, maxDiskShare }, log)
    const node = new Node(name, daemon, config.dataDir, lines)
    // Tests stop nodes out of turn; the directory is removed after the last of them.
    this.#context.after(() => node.stop())
    return node
  }

  /** Starts ready nodes `node-1` to `node-<count>` that all know each other, joined through the first. */
  async startAll(count: number, settings: NodeSettings = {}): Promise<readonly Node[]> {
    const first = await this.start('node-1', settings)
    const others = Array.from({ length: count - 1 }, (_, index) =>
      this.start(`node-${index + 2}`, { ...settings, join: [first.mesh] })
    )
    const all = [first, ...(await Promise.all(others))]
    await Promise.all(all.map(node => node.meets(count - 1)))
    return all
  }
}

/** One node, and what a client or an operator sees of it. */
export class Node {
  readonly name: string
  readonly dataDir: string
  readonly #daemon: Daemon
  readonly #lines: readonly string[]

  constructor(name: string, daemon: Daemon, dataDir: string, lines: readonly string[]) {
    this.name = name
    this.dataDir = dataDir
    this.#daemon = daemon
    this.#lines = lines
  }

  /** `host:port` of its registry. */
  get registry(): string {
    return this.#daemon.listening.registry
  }

  get mesh(): string {
    return this.#daemon.listening.mesh
  }

  get admin(): string {
    return this.#daemon.listening.admin
  }

  get transfer(): string {
    return this.#daemon.listening.transfer
  }

  /** Its log, one JSON object a line. */
  get log(): string {
    return this.#lines.join('')
  }

  stop(): Promise<void> {
    return this.#daemon.close()
  }

  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://${this.registry}${path}`, init)
  }

  async statusCode(path: string, init: RequestInit = {}): Promise<number> {
    const response = await this.get(path, init)
    await response.arrayBuffer()
    return response.status
  }

  /** See {@link sureStatus}. */
  sureStatusCode(path: string, init: RequestInit = {}): Promise<number> {
    return sureStatus(`http://${this.registry}${path}`, init)
  }

  async status(): Promise<StatusDocument> {
    const response = await fetch(`http://${this.#daemon.listening.admin}/status`)
    return (await response.json()) as StatusDocument
  }

  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const response = await fetch(`http://${this.#daemon.listening.admin}/metrics`)
    return sampleOf(await response.text(), name, labels)
  }

  async isReady(): Promise<boolean> {
    return (await fetch(`http://${this.#daemon.listening.admin}/readyz`)).ok
  }

  /** Waits until its status is as wanted, and gives it. */
  until(what: string, wanted: (status: StatusDocument) => boolean): Promise<StatusDocument> {
    return this.#until(what, async () => {
      const status = await this.status()
      return wanted(status) && status
    })
  }

  ready(): Promise<StatusDocument> {
    return this.until('to be ready', ({ ready }) => ready)
  }

  /** Waits until it is ready and sees so many live members besides itself. */
  meets(count: number): Promise<StatusDocument> {
    return this.until(
      `to be ready with ${count} peers`,
      ({ ready, peers }) => ready && peers.filter(({ state }) => state === 'live').length === count
    )
  }

  /** Waits until it holds so many blobs and misses none. */
  holds(count: number): Promise<StatusDocument> {
    return this.until(
      `to hold ${count} blobs`,
      ({ blobs }) => blobs.held === count && blobs.missing === 0
    )
  }

  push(repository: string, tag: string, image: MadeImage): Promise<void> {
    return pushImage({ registry: this.registry, repository, tag }, image)
  }

  /** Pulls and verifies an image; gives how many bytes it has. */
  pull(repository: string, tag: string): Promise<number> {
    return pullImage({ registry: this.registry, repository, tag })
  }

  /** Waits until its log has this text. */
  async logs(text: string): Promise<void> {
    await this.#until(`to log ${text}`, () => this.log.includes(text))
  }

  /** Waits until a path answers with a status. */
  async answers(status: number, path: string): Promise<void> {
    await this.#until(`to answer ${status} to ${path}`, async () => {
      return (await this.statusCode(path)) === status
    })
  }

  /** Asks again and again; when it is in vain, what the node says of itself goes with the error. */
  async #until<T>(what: string, ask: () => Promise<T | false> | T | false): Promise<T> {
    try {
      const options = { what: `${this.name} ${what}`, intervalMs: LOOK_MS }
      return await until(ask, options)
    } catch (error) {
      const status = JSON.stringify(await this.status(), undefined, 1)
      throw new Error(`waited in vain for ${this.name} ${what}\n${status}\n${this.log}`, {
        cause: error
      })
    }
  }
}
