import { openControl } from './admin/control.ts'
import { AdminServer } from './admin/server.ts'
import type { Clock } from './clock.ts'
import type { Closers } from './closers.ts'
import { type Config, formatHostPort, type HostPort } from './config.ts'
import type { Log } from './log.ts'
import type { Secrets } from './mesh/secret.ts'
import { byteCounters, type Metrics } from './metrics.ts'
import { adminGate } from './registry/auth/admin-gate.ts'
import { Guard } from './registry/auth/guard.ts'
import { GuardedAccess } from './registry/auth/guarded-access.ts'
import { warnOfStrangers } from './registry/auth/strangers.ts'
import { tokenRoutes } from './registry/auth/token-route.ts'
import { RegistryServer } from './registry/server.ts'
import { Tls } from './registry/tls.ts'
import type { Replication } from './replication/replication.ts'
import type { TransferServer } from './swarm/server.ts'

/** Pulls under way may end, but a stuck client must not hold up the stop for ever. */
const REGISTRY_DRAIN_MS = 10_000

/** Who may come in, and how clients know whom they talk to. */
export interface Porter {
  readonly guard: Guard
  /** `undefined`: plain HTTP only. */
  readonly tls: Tls | undefined
}

/** Reads users, policy and certificates. Throws `CONFIG_INVALID`. */
export async function openPorter(
  config: Config,
  { secrets, clock, log }: { secrets: Secrets; clock: Clock; log: Log },
  closers: Closers
): Promise<Porter> {
  const { tlsCert: cert, tlsKey: key, tlsClientCa: clientCa } = config
  const tls =
    cert && key ? closers.closing(await Tls.open({ cert, key, clientCa }, log)) : undefined
  const guard = closers.closing(
    await Guard.open({
      ...{ htpasswd: config.htpasswd, graceMs: config.htpasswdGraceMs, policy: config.policy },
      ...{ anonymous: config.anonymous, publicUrl: config.publicUrl },
      certificates: tls?.asksCertificates ?? false,
      clusterKeys: () => secrets.keys(),
      ...{ clock, log }
    })
  )
  const hosts = config.registry.map(({ host }) => host)
  warnOfStrangers(guard, hosts, log)
  return { guard, tls }
}

/**
 * Opens what clients and operators reach: the registry, the admin port and the control socket, and
 * what peers pass on for their clients. Gives the addresses for somebody on this machine.
 */
export async function openDoors(
  config: Config,
  parts: {
    readonly porter: Porter
    readonly replication: Replication
    readonly transfer: TransferServer
    readonly metrics: Metrics
    /** What is asked of the registry waits for this. */
    readonly opened: Promise<void>
    readonly log: Log
  },
  closers: Closers
): Promise<{ readonly registry: string; readonly admin: string }> {
  const { replication, transfer, metrics, log } = parts
  const { guard, tls } = parts.porter
  const introspection = replication.report
  const admin = closers.closing(
    await AdminServer.open({ listen: config.admin, introspection, log, gate: adminGate(guard) })
  )
  const bytes = byteCounters(metrics, 'registry')
  const registry = await RegistryServer.open({
    listen: config.registry,
    opened: parts.opened,
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
    onBytes: (direction, count) => bytes[direction](count)
  })
  closers.add(() => registry.close({ deadlineMs: REGISTRY_DRAIN_MS }))
  closers.closing(
    await openControl({
      ...{ dataDir: config.dataDir, introspection, operations: replication.operations, log },
      registry: (request, response) => registry.answerOperator(request, response)
    })
  )
  transfer.relayTo((request, response) => registry.answerRelayed(request, response))
  const [first = { host: '127.0.0.1', port: 0 }] = registry.addresses
  return {
    registry: reachable(first),
    admin: reachable({ host: config.admin.host, port: admin.port })
  }
}

/** Somebody on this machine reaches what listens everywhere by the loopback address. */
function reachable({ host, port }: HostPort): string {
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return formatHostPort({ host: near, port })
}
