#!/usr/bin/env node
import './young-generation.ts'
import { access, constants } from 'node:fs/promises'
import { Command, CommanderError, Help } from 'commander'
import packageJson from '../package.json' with { type: 'json' }
import { EXIT, type ExitCode, exitCodeOf } from './admin/commands/outcome.ts'
import { addAdminCommands } from './admin/commands/program.ts'
import { addSettings, loadConfig, unknownVariables } from './config.ts'
import { isCode, StarlingError, systemCode } from './errors.ts'
import { type Log, openLog } from './log.ts'

let exitCode: ExitCode = EXIT.done
let log: Log | undefined
const stop = stopSignal()

const program = new Command('starling')
  .description(packageJson.description)
  .version(packageJson.version)
  .exitOverride()
  // A switch is off unless given: saying so beside each one tells nothing.
  .configureHelp({
    optionDescription: option =>
      option.defaultValue === false ? option.description : new Help().optionDescription(option)
  })
addSettings(program.command('serve').description('run a node')).action(serve)
addAdminCommands(program, {
  screen: process.stdout,
  pipes: { input: () => process.stdin, output: process.stdout, notes: process.stderr },
  signal: stop,
  ended: code => {
    exitCode = code
  }
})
program
  .command('demo')
  .description('three nodes on this machine, one image, and the loss of the node that took it')
  .option('--once', 'end after the show instead of staying up', false)
  .action(async ({ once }: { once: boolean }) => {
    const { runDemo } = await import('./demo/demo.ts')
    await runDemo({ once, signal: stop })
  })

process.on('uncaughtException', error => process.exit(report(error)))
try {
  await program.parseAsync()
} catch (error) {
  exitCode = report(error)
}
process.exit(exitCode)

/** Runs a node until it is told to stop. */
async function serve(options: Readonly<Record<string, unknown>>): Promise<void> {
  const { config, warnings } = await loadConfig(options, undefined, whyUnreadable).catch(error => {
    for (const warning of unknownVariables()) console.error(`warning: ${warning}`)
    throw error
  })
  log = openLog(config.logLevel, config.name)
  for (const warning of warnings) log.warn({ warning }, 'setting ignored')
  const { Daemon } = await import('./daemon.ts')
  const daemon = await Daemon.start(config, log)
  const stopped = new Promise(resolve => stop.addEventListener('abort', resolve))
  if (!stop.aborted) await Promise.race([stopped, daemon.failed])
  if (stop.aborted) {
    log.info('node stopping')
    await daemon.handOver()
  }
  await daemon.close()
  log.info('node stopped')
}

async function whyUnreadable(file: string): Promise<string | undefined> {
  return access(file, constants.R_OK).then(
    () => undefined,
    error => systemCode(error) ?? String(error)
  )
}

/** The first signal asks to stop; whoever sends another will not wait. */
function stopSignal(): AbortSignal {
  const controller = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(EXIT.failed)
      controller.abort()
    })
  }
  // Whoever reads what is printed may leave; then there is nobody to go on for.
  process.stdout.on('error', () => controller.abort())
  return controller.signal
}

/** Says what went wrong, unless the parser has said it or a person asked to stop. */
function report(error: unknown): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
  const code = exitCodeOf(error)
  // What an operator did is said in a line; what we did, in the log with its stack.
  const isOurs = !(error instanceof StarlingError) || error.code === 'UNKNOWN'
  if (log !== undefined && isOurs) log.error({ err: error }, 'node failed')
  else if (!stop.aborted) console.error(error instanceof Error ? linesOf(error) : error)
  return code
}

/**
 * Several settings may be wrong at once, each in a line of its own. Which file a disk refused only
 * the system has said.
 */
function linesOf(error: Error): string {
  const { message, cause } = error
  const words =
    isCode(error, 'DISK_FAILED') && cause instanceof Error
      ? `${message}: ${cause.message}`
      : message
  return words
    .split('\n')
    .map(line => `error: ${line}`)
    .join('\n')
}
