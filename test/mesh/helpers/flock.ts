import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock, systemRandom } from '../../../src/clock.ts'
import { type Log, silentLog } from '../../../src/log.ts'
import type { Vitals } from '../../../src/mesh/beat.ts'
import type { MemberInfo } from '../../../src/mesh/member.ts'
import { Mesh } from '../../../src/mesh/mesh.ts'
import type { MeshOptions } from '../../../src/mesh/mesh-options.ts'
import { PATIENCE_MS } from '../../helpers/until.ts'

/** Longer than a busy machine holds a process up, so that nobody seems dead who is not. */
const DEAD_AFTER_MS = 6_000

/** For tests about dying, and about heartbeats, of which there are three in this time. */
export const MORTAL = { deadAfterMs: 900 }

export const SECRET = Buffer.alloc(32, 1)

export const VITALS: Vitals = {
  root: 'root',
  ready: true,
  disk: 'ok',
  hold: 'all',
  position: 0,
  promised: 0,
  confirmed: 0,
  caughtUp: 'root',
  missing: [],
  missingCount: 0,
  bytesHeld: 0,
  blobsHeld: 0
}

export interface BirdOptions extends Partial<MeshOptions> {
  readonly keys?: () => readonly Buffer[]
}

/**
 * Real meshes on 127.0.0.1 in one process. They hand each other their member records as the records
 * module would: whoever gets connected learns all that its peer knows.
 */
export class Flock {
  readonly meshes: Mesh[] = []
  readonly #context: TestContext
  readonly #shared: BirdOptions
  readonly #records = new Map<string, MemberInfo>()

  constructor(context: TestContext, shared: BirdOptions = {}) {
    this.#context = context
    this.#shared = shared
  }

  async dataDir(): Promise<string> {
    const dataDir = await mkdtemp(join(tmpdir(), 'starling-mesh-'))
    this.#context.after(() => rm(dataDir, { recursive: true, force: true }))
    return dataDir
  }

  /** Opens and starts a mesh; it is closed when the test ends. */
  async add(name: string, options: BirdOptions = {}): Promise<Mesh> {
    const mesh = await this.open(name, options)
    await this.start(mesh)
    return mesh
  }

  async open(name: string, options: BirdOptions = {}): Promise<Mesh> {
    const { keys, ...others } = { ...this.#shared, ...options }
    const mesh = await Mesh.open({
      dataDir: options.dataDir ?? (await this.dataDir()),
      name,
      listen: { host: '127.0.0.1', port: 0 },
      join: [],
      secrets: { keys: keys ?? (() => [SECRET]) },
      deadAfterMs: DEAD_AFTER_MS,
      forgetAfterMs: 60_000,
      self: () => VITALS,
      hello: () => ({ transfer: '127.0.0.1:5053', fingerprint: 'ab'.repeat(32), hold: 'all' }),
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
      ...others
    })
    this.meshes.push(mesh)
    this.#context.after(() => mesh.close())
    mesh.on('connected', () => this.#spread())
    return mesh
  }

  async start(mesh: Mesh): Promise<void> {
    await mesh.start()
    this.#records.set(mesh.id, mesh.member)
  }

  /** Leaves the address out of a node's record, so that others hear of it but do not dial it. */
  hide(mesh: Mesh): void {
    this.#records.set(mesh.id, { ...mesh.member, mesh: [] })
  }

  /** Everyone who is connected to anyone knows all members that are connected to anyone. */
  #spread(): void {
    const reached = this.meshes.filter(mesh => mesh.peers().some(peer => peer.connected))
    const members = reached.flatMap(mesh => this.#records.get(mesh.id) ?? [])
    for (const mesh of reached) mesh.learnMembers(members)
  }
}

/** Waits until a condition holds, looking again at each of the mesh's heartbeats' pace. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = systemClock.monotonic() + PATIENCE_MS
  while (!condition()) {
    if (systemClock.monotonic() > deadline) throw new Error(`not so within ${PATIENCE_MS} ms`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

export function isLive(mesh: Mesh, id: string): boolean {
  return mesh.peer(id)?.state === 'live'
}

/** Whether each sees all others live. */
export function allLive(meshes: readonly Mesh[]): boolean {
  return meshes.every(mesh => meshes.every(other => other === mesh || isLive(mesh, other.id)))
}

/** A log that remembers its lines. */
export function remembering(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = []
  const log = silentLog.child({})
  const remember = (...parts: unknown[]) => void lines.push(parts.map(String).join(' '))
  log.warn = remember
  log.error = remember
  return { log, lines }
}
