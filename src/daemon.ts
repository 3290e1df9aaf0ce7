import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import packageJson from '../package.json' with { type: 'json' }
import { openControl } from './admin/control.ts'
import { AdminServer } from './admin/server.ts'
import { systemClock, systemRandom } from './clock.ts'
import { Closers } from './closers.ts'
import { type Config, formatHostPort } from './config.ts'
import { type Listening, makeDataDir, writeListening } from './data-dir.ts'
import { StarlingError } from './errors.ts'
import type { Log } from './log.ts'
import { Mesh } from './mesh/mesh.ts'
import { Secrets } from './mesh/secret.ts'
import { openMetrics } from './metrics.ts'
import { Records } from './records/records.ts'
import { adminGate } from './registry/auth/admin-gate.ts'
import { Guard } from './registry/auth/guard.ts'
import { GuardedAccess } from './registry/auth/guarded-access.ts'
import { warnOfStrangers } from './registry/auth/strangers.ts'
import { tokenRoutes } from './registry/auth/token-route.ts'
import { RegistryServer } from './registry/server.ts'
import { Tls } from './registry/tls.ts'
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

/** Pulls under way may end, but a stuck client must not hold up the stop for ever. */
const REGISTRY_DRAIN_MS = 10_000

/** A node: opens its parts in order, and closes them in the reverse. */
export class Daemon {
  readonly listening: Listening
  /** Rejects when the node cannot go on; never resolves. */
  readonly failed: Promise<never>
  readonly #handOver: () => Promise<void>
  readonly #closers: Closers
  #closed: Promise<void> | undefined

  private constructor(
    listening: Listening,
    failed: Promise<never>,
    handOver: () => Promise<void>,
    closers: Closers
  ) {
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
      return await openAll(config, log, closers, (listening, failed, handOver) => {
        return new Daemon(listening, failed, handOver, closers)
      })
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

async function openAll(
  config: Config,
  log: Log,
  closers: Closers,
  made: (listening: Listening, failed: Promise<never>, handOver: () => Promise<void>) => Daemon
): Promise<Daemon> {
  const closing = <T extends { close(): Promise<void> | void }>(part: T): T => closers.closing(part)
  const { dataDir, name } = config
  const clock = systemClock
  const random = systemRandom
  await makeDataDir(dataDir)
  const metrics = closing(openMetrics())
  const count = (plane: 'registry' | 'mesh' | 'transfer', direction: 'received' | 'sent') => {
    const counter = direction === 'received' ? metrics.bytesReceived : metrics.bytesSent
    const series = counter.labels(plane)
    return (bytes: number) => series.inc(bytes)
  }

  const meshBytes = { received: count('mesh', 'received'), sent: count('mesh', 'sent') }

  const secrets = closing(
    await Secrets.open({
      dataDir,
      joining: config.join.length > 0,
      log,
      ...(config.secretFile !== undefined && { file: config.secretFile })
    })
  )
  const { tlsCert: cert, tlsKey: key, tlsClientCa: clientCa } = config
  const tls = cert && key ? closing(await Tls.open({ cert, key, clientCa }, log)) : undefined
  const guard = closing(
    await Guard.open({
      ...{ htpasswd: config.htpasswd, graceMs: config.htpasswdGraceMs, policy: config.policy },
      ...{ anonymous: config.anonymous, publicUrl: config.publicUrl },
      certificates: tls?.asksCertificates ?? false,
      clusterKeys: () => secrets.keys(),
      ...{ clock, log }
    })
  )
  warnOfStrangers(
    guard,
    config.registry.map(({ host }) => host),
    log
  )
  const credentials = await openCredentials({ dataDir, log })
  const blobs = closing(await Blobs.open({ dataDir, log }))
  blobs.onLost(() => metrics.damagedBlobs.inc())
  if (config.hold === 'none') refuseToDropBlobs(blobs)
  // Only now is it sure that no other process runs on this data.
  await rm(join(dataDir, 'listening.json'), { force: true })
  const uploads = closing(await Uploads.open({ dataDir, blobs, clock, log }))
  const disk = closing(await DiskWatch.open({ dataDir, maxUsedShare: config.maxDiskShare, log }))
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
  // After the mesh, which is asked about every peer that connects, perhaps at once.
  const transfer: TransferServer = closing(
    await TransferServer.open({
      ...config.transfer,
      credentials,
      source: blobs,
      pinned: fingerprint => mesh.isPinned(fingerprint),
      log,
      onSent: count('transfer', 'sent'),
      egress: limits.egress
    })
  )
  const fetcher = closing(new HttpsFetcher({ credentials, ingress: limits.ingress }))
  const pieces = closing(
    new PieceFetcher({
      ...{ credentials, ingress: limits.ingress },
      onReceived: count('transfer', 'received')
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
  await mesh.start()
  await replication.start()
  closing(
    new Scrub({
      ...{ dataDir, blobs, clock, log },
      bytesPerSecond: config.scrubBytesPerSecond,
      onChecked: bytes => metrics.checkedBytes.inc(bytes)
    })
  ).start()

  const introspection = replication.report
  const admin = closing(
    await AdminServer.open({ listen: config.admin, introspection, log, gate: adminGate(guard) })
  )
  const registryBytes = {
    received: count('registry', 'received'),
    sent: count('registry', 'sent')
  }
  const registry = await RegistryServer.open({
    listen: config.registry,
    content: replication.content,
    homes: replication.uploadHomes,
    deputy: config.hold === 'none' ? replication.deputies : undefined,
    pushDeputy: replication.pushDeputy,
    mirrorBare: config.mirrorBare,
    mountOnHead: config.mountOnHead,
    access: new GuardedAccess(guard, log),
    otherRoutes: tokenRoutes(guard),
    ...(tls !== undefined && { tls }),
    log,
    onRequest: ({ method, route, status, seconds }) =>
      metrics.httpRequestSeconds.observe({ method, route, status: String(status) }, seconds),
    onBytes: (direction, bytes) => registryBytes[direction](bytes)
  })
  closers.add(() => registry.close({ deadlineMs: REGISTRY_DRAIN_MS }))
  const control = await openControl({
    ...{ dataDir, introspection, operations: replication.operations, log },
    registry: (request, response) => registry.answerOperator(request, response)
  })
  closing(control)
  transfer.relayTo((request, response) => registry.answerRelayed(request, response))

  const [first = { host: '127.0.0.1', port: 0 }] = registry.addresses
  const listening: Listening = {
    registry: reachable(first),
    admin: reachable({ host: config.admin.host, port: admin.port }),
    mesh: mesh.address,
    transfer: dialable(mesh.address, transfer.port)
  }
  await writeListening(dataDir, listening)
  closers.add(() => rm(join(dataDir, 'listening.json'), { force: true }))
  closers.add(() => replication.stopping())
  log.info({ id: mesh.id, ...listening }, 'node started')
  const handOver = () => replication.handOver(AbortSignal.timeout(config.drainMs))
  return made(listening, failed.promise, handOver)
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

/** Somebody on this machine reaches what listens everywhere by the loopback address. */
function reachable({ host, port }: { host: string; port: number }): string {
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return formatHostPort({ host: near, port })
}
