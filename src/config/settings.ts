import { hostname } from 'node:os'
import { many, maybe, one, type Parsed } from './setting.ts'
import {
  byteRate,
  copies,
  dataDir,
  duration,
  host,
  hostPort,
  joinSource,
  nodeName,
  onOff,
  origin,
  readFrom,
  secretFrom,
  share,
  word
} from './values.ts'

/** Every setting there is. `--help`, the environment, the file and the README follow this table. */
export const SETTINGS = {
  dataDir: one({
    flag: 'data',
    placeholder: 'dir',
    format: dataDir,
    fallback: './data',
    meaning: 'where everything is kept'
  }),
  registry: many({
    flag: 'registry',
    placeholder: 'host:port',
    format: hostPort,
    fallback: '127.0.0.1:5050',
    meaning: 'OCI API; repeatable'
  }),
  admin: one({
    flag: 'admin',
    placeholder: 'host:port',
    format: hostPort,
    fallback: '127.0.0.1:5051',
    meaning: '`/healthz`, `/readyz`, `/metrics`, `/status`'
  }),
  mesh: one({
    flag: 'mesh',
    placeholder: 'host:port',
    format: hostPort,
    fallback: '0.0.0.0:5052',
    meaning: 'libp2p'
  }),
  transfer: one({
    flag: 'transfer',
    placeholder: 'host:port',
    format: hostPort,
    fallback: '0.0.0.0:5053',
    meaning: 'blob plane'
  }),
  advertise: maybe({
    flag: 'advertise',
    placeholder: 'host',
    format: host,
    shownDefault: 'found out',
    meaning: 'the host (name or address) that peers dial'
  }),
  join: many({
    flag: 'join',
    placeholder: 'source',
    format: joinSource,
    meaning:
      '`host:port` (mesh) of any peers, `dns:NAME:port` (every address of a DNS name), `mdns`; repeatable'
  }),
  secretFile: maybe({
    flag: 'secret-file',
    placeholder: 'file',
    format: secretFrom,
    shownDefault: 'made in `--data` when nothing is joined',
    meaning: 'cluster secrets, one per line: the first is used to dial, all are accepted'
  }),
  name: one({
    flag: 'name',
    placeholder: 'name',
    format: nodeName,
    fallback: hostname(),
    shownDefault: 'hostname',
    meaning: 'node name shown to people; another name means another identity'
  }),
  hold: one({
    flag: 'hold',
    placeholder: 'what',
    format: word('all', 'none'),
    fallback: 'all',
    meaning:
      '`all`, or `none`: stores no blobs and is no copy; other nodes answer its clients through it'
  }),
  copies: one({
    flag: 'copies',
    placeholder: 'count',
    format: copies,
    fallback: '2',
    meaning:
      'K: on how many nodes an image must be before its push is acknowledged; a number or `all`'
  }),
  ackWaitMs: one({
    flag: 'ack-wait',
    placeholder: 'duration',
    format: duration,
    fallback: '25s',
    meaning:
      'how long a push waits for nodes that are still copying; then 503, and the retry waits on'
  }),
  ackShort: one({
    flag: 'ack-short',
    placeholder: 'what',
    format: word('accept', 'reject'),
    fallback: 'accept',
    meaning: 'when fewer than K nodes are live: `accept` with a warning, or `reject`'
  }),
  deadAfterMs: one({
    flag: 'dead-after',
    placeholder: 'duration',
    format: duration,
    fallback: '6s',
    meaning: 'a member not heard for this long is away'
  }),
  forgetAfterMs: one({
    flag: 'forget-after',
    placeholder: 'duration',
    format: duration,
    fallback: '7d',
    meaning: 'a member away for this long is gone'
  }),
  aloneAfterMs: one({
    flag: 'alone-after',
    placeholder: 'duration',
    format: duration,
    fallback: '60s',
    meaning: 'a node that finds nobody of those it is to join is ready alone after this long'
  }),
  drainMs: one({
    flag: 'drain',
    placeholder: 'duration',
    format: duration,
    fallback: '60s',
    meaning: 'how long a node that is stopped waits for others to take what only it holds'
  }),
  sparse: one({
    flag: 'sparse',
    placeholder: 'what',
    format: word('none', 'indexes', 'all'),
    fallback: 'indexes',
    meaning:
      'what a pushed manifest may name that is not there: `none`, `indexes` (manifests that an index lists) or `all` (also layers)'
  }),
  htpasswd: maybe({
    flag: 'htpasswd',
    placeholder: 'file',
    format: readFrom,
    shownDefault: 'none',
    meaning: 'users and their bcrypt hashes; read again when it changes'
  }),
  htpasswdGraceMs: maybe({
    flag: 'htpasswd-grace',
    placeholder: 'duration',
    format: duration,
    shownDefault: 'none',
    meaning: 'how long a password that was replaced still works; a removed user is out at once'
  }),
  policy: maybe({
    flag: 'policy',
    placeholder: 'file',
    format: readFrom,
    shownDefault: 'none: whoever is let in may do all',
    meaning: 'who may pull, push and delete in which repositories; read again when it changes'
  }),
  anonymous: maybe({
    flag: 'anonymous',
    placeholder: 'what',
    format: word('none', 'pull', 'push'),
    shownDefault: '`push`; `none` with `--htpasswd` or `--tls-client-ca`',
    meaning: 'what those may do who do not log in: `none`, `pull`, or `push`, which is everything'
  }),
  publicUrl: maybe({
    flag: 'public-url',
    placeholder: 'url',
    format: origin,
    shownDefault: 'as each request says',
    meaning: 'how clients see the registry when a proxy stands between: they fetch tokens there'
  }),
  tlsCert: maybe({
    flag: 'tls-cert',
    placeholder: 'file',
    format: readFrom,
    shownDefault: 'none',
    meaning:
      'certificate chain (PEM): TLS beside plain HTTP on the registry port; read again when it changes'
  }),
  tlsKey: maybe({
    flag: 'tls-key',
    placeholder: 'file',
    format: readFrom,
    shownDefault: 'none',
    meaning: 'key of the certificate (PEM)'
  }),
  tlsClientCa: maybe({
    flag: 'tls-client-ca',
    placeholder: 'file',
    format: readFrom,
    shownDefault: 'none',
    meaning: 'authorities (PEM) whose client certificates log in the user of their common name'
  }),
  mirrorBare: one({
    flag: 'mirror-bare',
    placeholder: 'switch',
    format: onOff,
    fallback: 'off',
    meaning:
      'a pull of R with `?ns=H` is of repository `H/R` (docker.io by all its names); `on`: of bare `R` too'
  }),
  mountOnHead: one({
    flag: 'mount-on-head',
    placeholder: 'switch',
    format: onOff,
    fallback: 'off',
    meaning:
      '`on`: a client that asks for a blob (HEAD) where it may push is told of those in any repository it may pull from, so that it need not send them again'
  }),
  maxDiskShare: one({
    flag: 'max-disk',
    placeholder: 'share',
    format: share,
    fallback: '75%',
    meaning:
      'of the file system, whoever uses it: above it nothing more is kept here; reads go on, and pushes as far as other nodes have room'
  }),
  leaseMs: one({
    flag: 'lease',
    placeholder: 'duration',
    format: duration,
    fallback: '24h',
    meaning:
      'how long a blob is kept for a push that was told it is here; longer than any push takes'
  }),
  gcGraceMs: one({
    flag: 'gc-grace',
    placeholder: 'duration',
    format: duration,
    fallback: '1h',
    meaning: 'for how long nothing must have called for a blob before it is removed'
  }),
  scrubBytesPerSecond: one({
    flag: 'scrub-rate',
    placeholder: 'rate',
    format: byteRate,
    fallback: '20MiB/s',
    meaning: 'how fast what is held is read again to find damage; `0` for never'
  }),
  maxEgress: one({
    flag: 'max-egress',
    placeholder: 'rate',
    format: byteRate,
    fallback: '0',
    meaning: 'how fast blobs go out to all other nodes together; `0` for no limit'
  }),
  maxIngress: one({
    flag: 'max-ingress',
    placeholder: 'rate',
    format: byteRate,
    fallback: '0',
    meaning: 'how fast blobs come in from all other nodes together; `0` for no limit'
  }),
  backgroundShare: one({
    flag: 'background-share',
    placeholder: 'share',
    format: share,
    fallback: '25%',
    meaning:
      'of these two limits, what copies that nobody waits for may take while a client waits for others'
  }),
  logLevel: one({
    flag: 'log-level',
    placeholder: 'level',
    format: word('debug', 'info', 'warn', 'error', 'silent'),
    fallback: 'info',
    meaning: 'least severe event to log: `debug`, `info`, `warn`, `error` or `silent`'
  })
} as const

type Settings = typeof SETTINGS

/** Everything a node is told, parsed and checked. Durations in milliseconds, paths absolute. */
export type Config = { readonly [Key in keyof Settings]: Parsed<Settings[Key]> }
