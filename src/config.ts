import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { type AnySetting, many, maybe, one, type Parsed, variableOf } from './config/setting.ts'
import {
  type Environment,
  type Flags,
  fromEnvironment,
  fromFlags,
  type Given,
  readSettingsFile,
  type Source
} from './config/sources.ts'
import {
  ackShort,
  anonymous,
  copies,
  dataDir,
  duration,
  formatHostPort,
  host,
  hostPort,
  joinSource,
  logLevel,
  nodeName,
  onOff,
  origin,
  path,
  share,
  sparse
} from './config/values.ts'
import { StarlingError } from './errors.ts'

export { formatHostPort, type HostPort } from './config/values.ts'

/** Every setting there is. `--help`, the environment, the file and the README follow this table. */
const SETTINGS = {
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
    format: path,
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
    format: ackShort,
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
  sparse: one({
    flag: 'sparse',
    placeholder: 'what',
    format: sparse,
    fallback: 'indexes',
    meaning:
      'what a pushed manifest may name that is not there: `none`, `indexes` (manifests that an index lists) or `all` (also layers)'
  }),
  htpasswd: maybe({
    flag: 'htpasswd',
    placeholder: 'file',
    format: path,
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
    format: path,
    shownDefault: 'none: whoever is let in may do all',
    meaning: 'who may pull, push and delete in which repositories; read again when it changes'
  }),
  anonymous: maybe({
    flag: 'anonymous',
    placeholder: 'what',
    format: anonymous,
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
    format: path,
    shownDefault: 'none',
    meaning:
      'certificate chain (PEM): TLS beside plain HTTP on the registry port; read again when it changes'
  }),
  tlsKey: maybe({
    flag: 'tls-key',
    placeholder: 'file',
    format: path,
    shownDefault: 'none',
    meaning: 'key of the certificate (PEM)'
  }),
  tlsClientCa: maybe({
    flag: 'tls-client-ca',
    placeholder: 'file',
    format: path,
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
  maxDiskShare: one({
    flag: 'max-disk',
    placeholder: 'share',
    format: share,
    fallback: '75%',
    meaning:
      'of the file system, whoever uses it: above it pushes and background copies stop, reads go on'
  }),
  logLevel: one({
    flag: 'log-level',
    placeholder: 'level',
    format: logLevel,
    fallback: 'info',
    meaning: 'least severe event to log: `debug`, `info`, `warn`, `error` or `silent`'
  })
} as const

type Settings = typeof SETTINGS
const ALL: readonly AnySetting[] = Object.values(SETTINGS)

/** Everything a node is told, parsed and checked. Durations in milliseconds, paths absolute. */
export type Config = { readonly [Key in keyof Settings]: Parsed<Settings[Key]> }

const CONFIG_FILE = maybe({
  flag: 'config',
  placeholder: 'file',
  format: path,
  shownDefault: 'none',
  meaning: 'YAML file of these settings, by flag name without the dashes'
})

/** Adds the flag of every setting to a command; {@link loadConfig} reads what it collects. */
export function addSettings(command: Command): Command {
  for (const setting of [CONFIG_FILE, ...ALL]) command.addOption(optionOf(setting))
  return command
}

/** Adds the flags that say where a running node keeps its data, for commands that talk to it. */
export function addDataSettings(command: Command): Command {
  return command.addOption(optionOf(CONFIG_FILE)).addOption(optionOf(SETTINGS.dataDir))
}

/**
 * Reads every setting: file, overruled by environment, overruled by flags.
 *
 * @returns the settings, and warnings about `STARLING_*` variables that name none of them, which
 *   is no error since Kubernetes injects some (`STARLING_SERVICE_HOST`)
 * @throws `CONFIG_INVALID` naming every wrong setting, where it came from and what was expected
 */
export async function loadConfig(
  options: Options,
  environment: Environment = process.env
): Promise<{ config: Config; warnings: readonly string[] }> {
  const { sources, problems } = await openSources(options, environment)
  const values: Record<string, unknown> = {}
  for (const [key, setting] of Object.entries(SETTINGS)) {
    values[key] = readSetting(setting, sources, problems)
  }
  problems.push(...conflicts(values))
  refuse(problems)
  // Each key was read by the setting of that key, so the shape is that of the table.
  return { config: values as unknown as Config, warnings: unknownVariables(environment) }
}

/** Only where the data is, from the same sources. Throws `CONFIG_INVALID`. */
export async function loadDataDir(
  options: Options,
  environment: Environment = process.env
): Promise<string> {
  const { sources, problems } = await openSources(options, environment)
  const directory = readSetting(SETTINGS.dataDir, sources, problems)
  refuse(problems)
  return String(directory)
}

/** The README's table of settings, as markdown. */
export function settingsTable(): string {
  const rows = ALL.map(
    ({ flag, shownDefault, meaning }) => `| \`--${flag}\` | ${shownDefault} | ${meaning} |`
  )
  return ['| flag | default | meaning |', '|---|---|---|', ...rows].join('\n')
}

/** What Commander's `command.opts()` gives: camel-cased flags. */
type Options = Readonly<Record<string, unknown>>

function optionOf(setting: AnySetting): Option {
  const words = `${setting.meaning.replaceAll('`', '')} (default: ${setting.shownDefault.replaceAll('`', '')})`
  const option = new Option(`--${setting.flag} <${setting.placeholder}>`, words)
  if (setting.kind !== 'many') return option
  return option.argParser((text: string, previous: readonly string[] = []) => [...previous, text])
}

async function openSources(
  options: Options,
  environment: Environment
): Promise<{ sources: readonly Source[]; problems: string[] }> {
  const problems: string[] = []
  const given = [fromFlags(flagsOf(options)), fromEnvironment(environment)]
  const file = readSetting(CONFIG_FILE, given, problems)
  if (file === undefined) return { sources: given, problems }
  const read = await readSettingsFile(resolve(String(file)), ALL)
  return { sources: [...given, read.source], problems: [...problems, ...read.problems] }
}

function flagsOf(options: Options): Flags {
  const flags: Record<string, string | readonly string[] | undefined> = {}
  for (const setting of [CONFIG_FILE, ...ALL]) {
    const value = options[optionOf(setting).attributeName()]
    if (typeof value === 'string' || Array.isArray(value)) flags[setting.flag] = value
  }
  return flags
}

/** The value of a setting from the first source that has one; notes every text that is wrong. */
function readSetting(setting: AnySetting, sources: readonly Source[], problems: string[]): unknown {
  const { texts, origin } = firstGiven(setting, sources)
  const values: unknown[] = []
  for (const text of texts) {
    const value = setting.parse(text)
    if (value === undefined) {
      problems.push(`${origin}: expected ${setting.expected}; got ${JSON.stringify(text)}`)
    } else {
      values.push(value)
    }
  }
  return setting.kind === 'many' ? values : values[0]
}

function firstGiven(setting: AnySetting, sources: readonly Source[]): Given {
  for (const source of sources) {
    const given = source(setting)
    if (given !== undefined) return given
  }
  const texts = setting.fallback === undefined ? [] : [setting.fallback]
  return { texts, origin: `--${setting.flag} (default)` }
}

/** Settings that are right one by one and cannot work together. Those found wrong are absent. */
function conflicts(config: Partial<Config>): string[] {
  const { join = [], secretFile, deadAfterMs, forgetAfterMs } = config
  const problems: string[] = []
  if (join.length > 0 && secretFile === undefined) {
    problems.push('--secret-file: expected the secret file of the cluster to --join; got none')
  }
  if (deadAfterMs !== undefined && forgetAfterMs !== undefined && forgetAfterMs <= deadAfterMs) {
    problems.push('--forget-after: expected a longer time than --dead-after')
  }
  return [...problems, ...lockedOut(config), ...sharedAddresses(config)]
}

/** Settings of who may do what that would let nobody in, or would not do what they seem to. */
function lockedOut(config: Partial<Config>): string[] {
  const { htpasswd, htpasswdGraceMs, anonymous, tlsCert, tlsKey, tlsClientCa } = config
  const problems: string[] = []
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    problems.push('--tls-cert, --tls-key: expected both or none')
  }
  if (tlsClientCa !== undefined && tlsCert === undefined) {
    problems.push('--tls-client-ca: expected --tls-cert with it')
  }
  if (htpasswdGraceMs !== undefined && htpasswd === undefined) {
    problems.push('--htpasswd-grace: expected --htpasswd with it')
  }
  if (anonymous === 'none' && htpasswd === undefined && tlsClientCa === undefined) {
    problems.push('--anonymous: none lets nobody in without --htpasswd or --tls-client-ca')
  }
  return problems
}

function sharedAddresses(config: Partial<Config>): string[] {
  const problems: string[] = []
  const taken = new Map<string, string>()
  for (const flag of ['registry', 'admin', 'mesh', 'transfer'] as const) {
    for (const address of [config[flag] ?? []].flat()) {
      if (address.port === 0) continue
      const text = formatHostPort(address)
      const other = taken.get(text)
      if (other !== undefined) {
        problems.push(`--${flag}: expected an address of its own; ${text} is that of --${other}`)
      }
      taken.set(text, flag)
    }
  }
  return problems
}

function refuse(problems: readonly string[]): void {
  if (problems.length === 0) return
  throw new StarlingError('CONFIG_INVALID', problems.join('\n'), { detail: problems })
}

function unknownVariables(environment: Environment): readonly string[] {
  const known = new Set([CONFIG_FILE, ...ALL].map(variableOf))
  return Object.keys(environment)
    .filter(name => name.startsWith('STARLING_') && !known.has(name))
    .map(name => `${name}: no such setting, ignored`)
}
