import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock, systemRandom } from '../../../src/clock.ts'
import { silentLog } from '../../../src/log.ts'
import { encodeBeat } from '../../../src/mesh/beat.ts'
import { Mesh } from '../../../src/mesh/mesh.ts'
import { Secrets } from '../../../src/mesh/secret.ts'
import { Records } from '../../../src/records/records.ts'
import { Roots } from '../../../src/replication/roots.ts'
import { Synchroniser } from '../../../src/replication/synchroniser.ts'
import { until } from '../../helpers/until.ts'

/** A node that only has records: mesh, journal, index and reconciliation are real. Its gossip is off. */
export class ReconcilingNode {
  readonly mesh: Mesh
  readonly records: Records
  readonly #synchroniser: Synchroniser
  readonly #close: () => Promise<void>
  /** Bytes on the wire of its mesh, both ways, heartbeats and encryption included. */
  meshBytes = 0
  /** Bytes of requests and answers of its own reconciliations. */
  #frameBytes = 0
  frames = 0

  static async open(
    name: string,
    directory: string,
    join_: readonly string[]
  ): Promise<ReconcilingNode> {
    const dataDir = join(directory, name)
    await mkdir(dataDir, { recursive: true })
    const shared = { dataDir, log: silentLog, clock: systemClock }
    const file = join(directory, 'secret')
    const secrets = await Secrets.open({ ...shared, file, joining: true })
    let node: ReconcilingNode | undefined
    const mesh: Mesh = await Mesh.open({
      ...{ ...shared, name, listen: { host: '127.0.0.1', port: 0 }, join: join_, secrets },
      ...{ deadAfterMs: 6_000, forgetAfterMs: 600_000, random: systemRandom },
      self: () => vitalsOf(node?.records),
      hello: () => ({ transfer: '127.0.0.1:1', fingerprint: '00'.repeat(32), hold: 'all' }),
      onBytes: (_, bytes) => {
        if (node !== undefined) node.meshBytes += bytes
      }
    })
    const records = await Records.open({ ...shared, origin: mesh.id })
    node = new ReconcilingNode(mesh, records, () => secrets.close())
    await mesh.start()
    return node
  }

  private constructor(mesh: Mesh, records: Records, closeSecrets: () => void) {
    this.mesh = mesh
    this.records = records
    const roots = new Roots(records)
    this.#synchroniser = new Synchroniser({
      ...{ records, roots, clock: systemClock, random: systemRandom, log: silentLog },
      mesh: {
        boot: mesh.boot,
        peers: () => mesh.peers(),
        handle: (protocol, maxBytes, handler) => mesh.handle(protocol, maxBytes, handler),
        on: (event, listener) => mesh.on(event, listener),
        publish: () => {},
        request: async (peer, protocol, payload, options) => {
          const answer = await mesh.request(peer, protocol, payload, options)
          this.frames += 2
          this.#frameBytes += payload.length + answer.length
          return answer
        }
      }
    })
    this.#close = async () => {
      await this.#synchroniser.close()
      await mesh.close()
      roots.close()
      await records.close()
      closeSecrets()
    }
  }

  /** Reconciles with a node until both have the same; what it took, from when they were connected. */
  async levelWith(other: ReconcilingNode) {
    await until(() => this.mesh.peer(other.mesh.id)?.connected, {
      what: 'the nodes to be connected',
      timeoutMs: 30_000
    })
    const start = performance.now()
    const cpu = process.cpuUsage()
    const { frames } = this
    const bytes = this.#frameBytes
    while (this.records.root().hash !== other.records.root().hash) {
      await this.#synchroniser.level(other.mesh.id)
    }
    const { user, system } = process.cpuUsage(cpu)
    return {
      /** Of both nodes: it does not grow when others are busy. */
      cpuSeconds: (user + system) / 1e6,
      seconds: (performance.now() - start) / 1000,
      bytes: this.#frameBytes - bytes,
      frames: this.frames - frames
    }
  }

  beatBytes(): number {
    const self = { id: this.mesh.id, boot: this.mesh.boot, bootedAt: Date.now(), sequence: 1_000 }
    return encodeBeat({ ...vitalsOf(this.records), ...self }).length
  }

  close(): Promise<void> {
    return this.#close()
  }
}

function vitalsOf(records: Records | undefined) {
  const root = records?.root().hash ?? ''
  return {
    ...{ root, position: records?.sequence() ?? 0, promised: 0, confirmed: 0 },
    ...({ ready: true, disk: 'ok', freeBytes: 0, hold: 'all', caughtUp: root } as const),
    ...{ missing: [], missingCount: 0, bytesHeld: 0, blobsHeld: 0 }
  }
}
