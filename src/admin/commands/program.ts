import type { Command } from 'commander'
import { duration } from '../../config/values.ts'
import { addDataSettings, loadDataDir } from '../../config.ts'
import { StarlingError } from '../../errors.ts'
import type { Input } from '../archive/archive-bytes.ts'
import { controlOfData } from '../control-client.ts'
import type { CollectionMode } from '../operations.ts'
import { parseReference, REFERENCE_FORMAT } from '../reference.ts'
import { runEvents } from './events.ts'
import type { Output } from './export.ts'
import { runForget } from './forget.ts'
import { runGc } from './gc.ts'
import { addImageCommands } from './image-program.ts'
import { runLs } from './ls.ts'
import type { ExitCode, Screen } from './outcome.ts'
import { runStatus } from './status.ts'
import { addTarget, openClient, type TargetOptions } from './target.ts'
import { runVerify } from './verify.ts'
import { runWait, type WaitCommand } from './wait.ts'

export interface AdminCommands {
  readonly screen: Screen
  readonly pipes: Pipes
  readonly signal: AbortSignal
  readonly ended: (code: ExitCode) => void
}

/** What archives come and go through. */
export interface Pipes {
  /** Opened only by who reads it. */
  readonly input: () => Input
  readonly output: Output
  /** Where people are told something meanwhile. */
  readonly notes: Screen
}

/** Adds the commands that ask a running node, or have it do something. */
export function addAdminCommands(program: Command, commands: AdminCommands): void {
  const { screen, signal, ended } = commands
  addTarget(program.command('status').description('show a node, its peers and its images'))
    .option('--watch', 'again and again', false)
    .option('--json', 'as JSON, one object on a line', false)
    .action(async (options: TargetOptions & { watch: boolean; json: boolean }) => {
      const client = await openClient(options)
      ended(await runStatus({ client, screen, signal, watch: options.watch, json: options.json }))
    })
  addTarget(program.command('wait').description('wait until nodes hold an image'))
    .argument('<ref>', REFERENCE_FORMAT)
    .option('--nodes <number>', 'how many: a number, or all members', 'all')
    .option('--timeout <duration>', 'give up after', '300s')
    .option('--json', 'the outcome as JSON', false)
    .action(async (ref: string, options: TargetOptions & WaitOptions) => {
      const asked = parseWait(ref, options)
      const client = await openClient(options)
      ended(await runWait({ client, screen, signal, json: options.json, ...asked }))
    })
  addTarget(program.command('ls').description('list every tag that a node knows'))
    .argument('[repository]', 'only of this one')
    .option('--json', 'as JSON, an image on a line', false)
    .action(async (repository: string | undefined, options: TargetOptions & { json: boolean }) => {
      const client = await openClient(options)
      ended(await runLs({ client, screen, signal, repository, json: options.json }))
    })
  addTarget(program.command('events').description('show what changes: tags, manifests, members'))
    .option('--no-follow', 'only what the node remembers')
    .option('--json', 'as JSON, a change on a line', false)
    .action(async (options: TargetOptions & { follow: boolean; json: boolean }) => {
      const { follow, json } = options
      ended(await runEvents({ client: await openClient(options), screen, signal, follow, json }))
    })
  addDataSettings(program.command('forget').description('give up a member that does not come back'))
    .argument('<name>', 'its name')
    .option('--json', 'the outcome as JSON', false)
    .action(async (name: string, { json, ...options }: DataOptions) => {
      const client = controlOfData(await loadDataDir(options))
      ended(await runForget({ client, screen, signal, name, json }))
    })
  addImageCommands(program, commands)
  addDataSettings(program.command('verify').description('read all that a node holds, and heal it'))
    .option('--json', 'as JSON, one object on a line', false)
    .action(async ({ json, ...options }: DataOptions) => {
      const client = controlOfData(await loadDataDir(options))
      ended(await runVerify({ client, screen, signal, json }))
    })
  addDataSettings(program.command('gc').description('remove what nothing calls for any more'))
    .option('--dry-run', 'only say what would go, and why the rest would not', false)
    .option('--now', 'also within the first lease time after a start', false)
    .option('--json', 'as one JSON object', false)
    .action(async ({ json, dryRun, now, ...options }: DataOptions & CollectionMode) => {
      const client = controlOfData(await loadDataDir(options))
      ended(await runGc({ client, screen, signal, json, dryRun, now }))
    })
}

interface DataOptions extends Readonly<Record<string, unknown>> {
  readonly json: boolean
}

interface WaitOptions {
  readonly nodes: string
  readonly timeout: string
  readonly json: boolean
}

/** Every wrong word at once, as with the settings. */
function parseWait(
  ref: string,
  { nodes, timeout }: WaitOptions
): Pick<WaitCommand, 'reference' | 'nodes' | 'timeoutMs'> {
  const reference = parseReference(ref)
  const wanted = nodes === 'all' ? 'all' : /^[1-9]\d{0,4}$/.test(nodes) ? Number(nodes) : undefined
  const timeoutMs = duration.parse(timeout)
  if (reference !== undefined && wanted !== undefined && timeoutMs !== undefined) {
    return { reference, nodes: wanted, timeoutMs }
  }
  const problems = [
    reference === undefined && `ref: expected ${REFERENCE_FORMAT}; got ${JSON.stringify(ref)}`,
    wanted === undefined &&
      `--nodes: expected a number from 1, or all; got ${JSON.stringify(nodes)}`,
    timeoutMs === undefined &&
      `--timeout: expected ${duration.expected}; got ${JSON.stringify(timeout)}`
  ]
  throw new StarlingError('CONFIG_INVALID', problems.filter(text => text !== false).join('\n'))
}
