import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import packageJson from '../package.json' with { type: 'json' }
import { systemClock, systemRandom } from './clock.ts'
import { Closers } from './closers.ts'
import type { Config } from './config.ts'
import { type Listening, makeDataDir, writeListening } from './data-dir.ts'
import { openDoors, openPorter } from './doors.ts'
import { StarlingError } from './errors.ts'
import type { Log } from './log.ts'
import { Mesh } from './mesh/mesh.ts'
import { Secrets } from './mesh/secret.ts'
import { byteCounters, openMetrics } from './metrics.ts'
import { Records } from './records/records.ts'
import { DiskWatch } from './replication/disk-space.ts'
import { Replication } from './replication/replication.ts'
import { Blobs } from './store/blobs.ts'
import { Scrub } from './store/scrub.ts'
import { Uploads } from './store/uploads.ts'
import { openCredentials } from './swarm/certificate.ts'
import { HttpsFetcher } from './swarm/https-fetcher.ts'
import { PieceFetcher } from './swarm/piece-fetcher.ts'
import { rateLimits } from './swarm/rate-limit.ts'
import { Relay } from './swarm/relay.ts'
import { TransferServer } from './swarm/server.ts'

/** What a running node consists of for its owner. */
interface Running {
  readonly listening: Listening
  readonly failed: Promise<never>
  readonly handOver: () => Promise<void>
}

/** A node: opens its parts in order, and closes them in the reverse. */
export class Daemon {
  readonly listening: Listening
  /** Rejects when the node cannot go on; never resolves. */
  readonly failed: Promise<never>
  readonly #handOver: () => Promise<void>
  readonly #closers: Closers
  #closed: Promise<void> | undefined

  private constructor({ listening, failed, handOver }: Running, closers: Closers) {
    this.listening = listening
    this.failed = failed
    this.#handOver = handOver
    this.#closers = closers
  }

  /**
   * Starts a node and settles when all its ports are open. Throws `CONFIG_INVALID`, `DATA_LOCKED`,
   * `DATA_DAMAGED` or `DISK_FAILED`, with everything closed again.
   */
  static async start(config: Config, log: Log): Promise<Daemon> {
    const closers = new Closers()
    try {
      return new Daemon(await openAll(config, log, closers), closers)
    } catch (error) {
      for (const failure of await closers.close()) log.warn({ err: failure }, 'part not closed')
      throw error
    }
  }

  /**
   * Takes no more pushes, and settles once others hold what only this node holds, or `--drain` is
   * over. What is asked of it meanwhile is answered.
   */
  handOver(): Promise<void> {
    return this.#handOver()
  }

  /** Stops in order: no more clients, no more peers, then the files. May be called again. */
  close(): Promise<void> {
    this.#closed ??= this.#closers.close().then(failures => {
      if (failures.length > 0) throw new AggregateError(failures, 'parts of the node did not close')
    })
    return this.#closed
  }
}

async function openAll(config: Config, log: Log, closers: Closers): Promise<Running> {
  const closing = <T extends { close(): Promise<void> | void }>(part: T): T => closers.closing(part)
  const { dataDir, name } = config
  const clock = systemClock
  const random = systemRandom
  await makeDataDir(dataDir)
  const metrics = closing(openMetrics())
  const secrets = closing(
    await Secrets.open({
      dataDir,
      joining: config.join.length > 0,
      log,
      ...(config.secretFile !== undefined && { file: config.secretFile })
    })
  )
  const porter = await openPorter(config, { secrets, clock, log }, closers)
  const credentials = await openCredentials({ dataDir, log })
  const blobs = closing(await Blobs.open({ dataDir, log }))
  blobs.onLost(() => metrics.damagedBlobs.inc())
  if (config.hold === 'none') refuseToDropBlobs(blobs)
  // Only now is it sure that no other process runs on this data.
  await rm(join(dataDir, 'listening.json'), { force: true })
  const uploads = closing(await Uploads.open({ dataDir, blobs, clock, log }))
  const disk = closing(await DiskWatch.open({ dataDir, maxUsedShare: config.maxDiskShare, log }))
  const meshBytes = byteCounters(metrics, 'mesh')
  const mesh: Mesh = await Mesh.open({
    dataDir,
    name,
    listen: config.mesh,
    join: config.join,
    secrets,
    deadAfterMs: config.deadAfterMs,
    forgetAfterMs: config.forgetAfterMs,
    self: () => replication.vitals(),
    hello: () => ({
      transfer: dialable(mesh.address, transfer.port),
      fingerprint: credentials.fingerprint,
      hold: config.hold
    }),
    clock,
    random,
    log,
    onBytes: (direction, bytes) => meshBytes[direction](bytes),
    ...(config.advertise !== undefined && { advertise: config.advertise })
  })
  const records = closing(await Records.open({ dataDir, origin: mesh.id, clock, log }))
  // Peers are cut off before the records close, which their questions read.
  closing(mesh)
  const limits = rateLimits({
    ...config,
    clock,
    onWaited: (direction, seconds) => metrics.throttledSeconds.inc({ direction }, seconds)
  })
  const transferBytes = byteCounters(metrics, 'transfer')
  // After the mesh, which is asked about every peer that connects, perhaps at once.
  const transfer: TransferServer = closing(
    await TransferServer.open({
      ...config.transfer,
      credentials,
      source: blobs,
      pinned: fingerprint => mesh.isPinned(fingerprint),
      log,
      onSent: transferBytes.sent,
      egress: limits.egress
    })
  )
  const fetcher = closing(new HttpsFetcher({ credentials, ingress: limits.ingress }))
  const pieces = closing(
    new PieceFetcher({
      ...{ credentials, ingress: limits.ingress },
      onReceived: transferBytes.received
    })
  )
  const relay = closing(new Relay({ credentials }))
  mesh.on('away', peer => transfer.cutRelays(peer))
  const replication: Replication = closing(
    await Replication.open({
      ...{ name, version: packageJson.version },
      deadAfterMs: config.deadAfterMs,
      aloneAfterMs: config.aloneAfterMs,
      sparse: config.sparse,
      hold: config.hold,
      copies: config.copies,
      ackWaitMs: config.ackWaitMs,
      ackShort: config.ackShort,
      leaseMs: config.leaseMs,
      gcGraceMs: config.gcGraceMs,
      ...{ blobs, uploads, records, mesh, fetcher, pieces, relay, disk, metrics },
      ...{ dataDir, clock, random, log }
    })
  )
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => undefined)
  mesh.on('duplicate', () => {
    failed.reject(
      new StarlingError(
        'CONFIG_INVALID',
        `another node runs with the identity of this one (${mesh.id}): a data directory was copied. Remove node.key from the copy`
      )
    )
  })
  transfer.servePieces(replication.pieceDesk)
  const opened = Promise.withResolvers<void>()
  opened.promise.catch(() => undefined)
  const parts = { porter, replication, transfer, metrics, opened: opened.promise, log }
  // Every port before the mesh is joined: who cannot have them all is nobody's member.
  const doors = await openDoors(config, parts, closers)
  closers.add(() => opened.reject(new StarlingError('UNAVAILABLE', 'this node did not start')))
  await mesh.start()
  await replication.start()
  opened.resolve()
  closing(
    new Scrub({
      ...{ dataDir, blobs, clock, log },
      bytesPerSecond: config.scrubBytesPerSecond,
      onChecked: bytes => metrics.checkedBytes.inc(bytes)
    })
  ).start()

  const listening: Listening = {
    ...doors,
    mesh: mesh.address,
    transfer: dialable(mesh.address, transfer.port)
  }
  await writeListening(dataDir, listening)
  closers.add(() => rm(join(dataDir, 'listening.json'), { force: true }))
  closers.add(() => replication.stopping())
  log.info({ id: mesh.id, ...listening }, 'node started')
  const handOver = () => replication.handOver(AbortSignal.timeout(config.drainMs))
  return { listening, failed: failed.promise, handOver }
}

/** What is here may be nowhere else, and would be neither served nor counted as a copy. */
function refuseToDropBlobs(blobs: Blobs): void {
  const { count } = blobs.totals()
  if (count === 0) return
  throw new StarlingError(
    'CONFIG_INVALID',
    `--hold none: ${count} blobs are stored here. Once other nodes hold them, start with an empty --data`
  )
}

/** The address of another port on the host that peers dial. */
function dialable(meshAddress: string, port: number): string {
  return `${meshAddress.slice(0, meshAddress.lastIndexOf(':'))}:${port}`
}
