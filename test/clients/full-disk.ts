import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type MadeBlob, type MadeImage, makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import type { Daemon } from '../helpers/daemon.ts'

/** What happened when the disk was full from one step of a push on. */
export interface FullDiskCase {
  readonly step: string
  /** The answer to the step that met the full disk, and its first error code. */
  readonly status: number
  readonly code: string | undefined
  /** Whether what was there before could be read while the disk was full. */
  readonly readsGoOn: boolean
  /** Whether the same push, from its beginning, worked after space was freed. */
  readonly nextPushWorks: boolean
  /** Whether all is there, and whole, after the process was killed and started again. */
  readonly survivesRestart: boolean
}

const MIB = 1024 * 1024
const DISK_BYTES = 64 * MIB
const LAYER_SIZES = [4 * MIB]
const REPOSITORY = 'full/disk'
/** Refused as a whole, in words for the client, and not because something broke. */
const CLEAN_STATUSES = [413, 429, 503, 507]

/** The steps of a push, in their order; the disk gets full before one of them. */
const STEPS = [
  'open upload',
  'send blob',
  'send blob midway',
  'close upload',
  'put manifest'
] as const
type StepName = (typeof STEPS)[number]

/** Whether a case went as it should. */
export function isClean({ status, code, ...held }: FullDiskCase): boolean {
  const refused = CLEAN_STATUSES.includes(status) && code !== undefined
  // The step may also need no room: then it has to be true that it worked.
  return (refused || status < 300) && Object.values(held).every(Boolean)
}

/**
 * Lets a small disk get full before each step of a push, with the limit that pushes have of
 * themselves switched off. Needs root, since the disk is a tmpfs of its own.
 */
export async function fullDisk(): Promise<readonly FullDiskCase[]> {
  const disk = await mkdtemp(join(tmpdir(), 'starling-full-'))
  await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk])
  const cluster = await Cluster.open()
  try {
    const options = { dataDir: join(disk, 'data'), flags: ['--max-disk', '100%'] }
    let node = await (await cluster.node('node-1', options)).ready()
    const before = makeImage(LAYER_SIZES)
    await new Push(node, before, 'before').all()
    const cases: FullDiskCase[] = []
    for (const step of STEPS) {
      const image = makeImage(LAYER_SIZES)
      const tag = step.replaceAll(' ', '-')
      const push = new Push(node, image, tag)
      const ballast = join(disk, 'ballast')
      const { status, code } = await push.upTo(step, () => fill(disk, ballast, step))
      const readsGoOn = await pulls(node, before, 'before')
      await rm(ballast)
      const again = await new Push(node, image, tag).all().catch((error: unknown) => error)
      if (again !== undefined) console.error(`${step}: the next push failed:`, again)
      const nextPushWorks = again === undefined && (await pulls(node, image, tag))
      await node.kill()
      node = await (await cluster.restart(node, 'kept')).ready()
      const survivesRestart =
        (await pulls(node, before, 'before')) && (await pulls(node, image, tag))
      cases.push({ step, status, code, readsGoOn, nextPushWorks, survivesRestart })
    }
    return cases
  } finally {
    await cluster.close()
    await run('umount', [disk])
    await rm(disk, { recursive: true, force: true })
  }
}

/** Leaves no room at all, or, for a blob that is to break off midway, half of what it needs. */
async function fill(disk: string, ballast: string, step: StepName): Promise<void> {
  const { bavail, bsize } = await statfs(disk)
  const leftBytes = step === 'send blob midway' ? 2 * MIB : 0
  await writeFile(ballast, Buffer.alloc(Math.max(0, bavail * bsize - leftBytes)))
}

interface Answer {
  readonly status: number
  readonly code: string | undefined
  readonly location: string
}

/** One push, request by request. */
class Push {
  readonly #v2: string
  readonly #image: MadeImage
  readonly #tag: string

  constructor(node: Daemon, image: MadeImage, tag: string) {
    this.#v2 = `http://${node.addresses.registry}/v2/${REPOSITORY}`
    this.#image = image
    this.#tag = tag
  }

  /** Throws unless every step works. */
  async all(): Promise<undefined> {
    for (const blob of this.#image.blobs) {
      const { location } = expected(await this.#open(), 202)
      expected(await this.#send(location, blob), 202)
      expected(await this.#close(location, blob), 201)
    }
    expected(await this.#putManifest(), 201)
  }

  /** Goes on until a step, lets the disk get full, and gives the answer to that step. */
  async upTo(step: StepName, fillDisk: () => Promise<void>): Promise<Answer> {
    const [config, layer] = this.#image.blobs
    if (config === undefined || layer === undefined) throw new Error('an image has a layer')
    const { location: first } = expected(await this.#open(), 202)
    await this.#send(first, config)
    await this.#close(first, config)
    if (step === 'open upload') return fillDisk().then(() => this.#open())
    const { location } = expected(await this.#open(), 202)
    if (step.startsWith('send blob')) return fillDisk().then(() => this.#send(location, layer))
    expected(await this.#send(location, layer), 202)
    if (step === 'close upload') return fillDisk().then(() => this.#close(location, layer))
    expected(await this.#close(location, layer), 201)
    return fillDisk().then(() => this.#putManifest())
  }

  #open(): Promise<Answer> {
    return ask(`${this.#v2}/blobs/uploads/`, 'POST')
  }

  #send(location: string, blob: MadeBlob): Promise<Answer> {
    return ask(new URL(location, this.#v2), 'PATCH', Buffer.concat([...blob.bytes()]))
  }

  #close(location: string, { digest }: MadeBlob): Promise<Answer> {
    return ask(new URL(`${location}?digest=${digest}`, this.#v2), 'PUT')
  }

  #putManifest(): Promise<Answer> {
    const { manifest, mediaType } = this.#image
    return ask(`${this.#v2}/manifests/${this.#tag}`, 'PUT', manifest, mediaType)
  }
}

async function ask(
  url: string | URL,
  method: string,
  body?: Buffer,
  type = 'application/octet-stream'
): Promise<Answer> {
  const headers = { 'content-type': type }
  const response = await fetch(url, { method, ...(body && { body, headers }) })
  const text = await response.text()
  const code = /^\{"errors":\[\{"code":"([A-Z_]+)"/.exec(text)?.[1]
  return { status: response.status, code, location: response.headers.get('location') ?? '' }
}

function expected(answer: Answer, status: number): Answer {
  if (answer.status === status) return answer
  throw new Error(`the answer was ${answer.status} ${answer.code} instead of ${status}`)
}

/** Whether an image comes whole: its manifest under the tag, and each of its blobs. */
async function pulls(node: Daemon, image: MadeImage, tag: string): Promise<boolean> {
  const v2 = `http://${node.addresses.registry}/v2/${REPOSITORY}`
  const same = async (path: string, bytes: Buffer) => {
    const response = await fetch(`${v2}/${path}`)
    const found = Buffer.from(await response.arrayBuffer())
    return response.status === 200 && found.equals(bytes)
  }
  if (!(await same(`manifests/${tag}`, image.manifest))) return false
  for (const blob of image.blobs) {
    if (!(await same(`blobs/${blob.digest}`, Buffer.concat([...blob.bytes()])))) return false
  }
  return true
}
