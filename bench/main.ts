import { Command, InvalidArgumentError, Option } from 'commander'
import { isCode } from '../src/errors.ts'
import { benchManifests } from './manifests.ts'
import { parseSize } from './measure.ts'
import { benchPull } from './pull.ts'
import { benchPush } from './push.ts'
import { replicate } from './replicate.ts'
import { print } from './report.ts'
import { POLICIES, simulateSpread } from './simulate.ts'

/** Exit code when a bench cannot be set up as asked: it never falls back to something else. */
const CANNOT_SET_UP = 2

const program = new Command('bench').description(
  'Measures Starling; each bench answers one question.'
)

program
  .command('replicate')
  .description('How soon does every node hold a blob that was pushed to one of them?')
  .option('--nodes <count>', 'nodes in all, the seed included', count, 4)
  .option('--size <size>', 'size of the blob, as 64MiB', size, size('256MiB'))
  .addOption(
    new Option('--link <rate>', 'none: loopback, no root needed').choices(['none']).default('none')
  )
  .option(
    '--against <urls>',
    'admin URLs of a running cluster, the seed first, comma-separated',
    list
  )
  .option('--registry <url>', 'with --against: the registry URL of the seed')
  .option('--runs <count>', 'how often; figures are medians', count, 3)
  .option('--data <dir>', 'where the nodes keep their data, instead of tmpfs')
  .option('--json <file>', 'write one JSON object to a file, - for standard output')
  .action(async options => print(await replicate(options), options.json))

program
  .command('pull')
  .description('How fast does a client get a large blob that is in memory?')
  .option('--size <size>', 'size of the blob, as 64MiB', size, size('1GiB'))
  .option('--against <names>', 'docker-registry, nginx', list, list('docker-registry,nginx'))
  .option('--runs <count>', 'how often; figures are medians', count, 5)
  .option('--data <dir>', 'where the servers keep their data, instead of tmpfs')
  .option('--json <file>', 'write one JSON object to a file, - for standard output')
  .action(async options => print(await benchPull(options), options.json))

program
  .command('push')
  .description('How soon is a large blob stored, durably and verified?')
  .option('--size <size>', 'size of the blob, as 64MiB', size, size('1GiB'))
  .option('--against <names>', 'docker-registry, nginx', list, list('docker-registry,nginx'))
  .option('--runs <count>', 'how often; figures are medians', count, 3)
  .option('--data <dir>', 'where the servers keep their data, instead of tmpfs')
  .option('--json <file>', 'write one JSON object to a file, - for standard output')
  .action(async options => print(await benchPush(options), options.json))

program
  .command('manifests')
  .description('How many manifests does a server give in a second?')
  .addOption(new Option('--by <what>', 'asked for by').choices(['tag', 'digest']).default('tag'))
  .option('--against <names>', 'docker-registry', list, list('docker-registry'))
  .option('--runs <count>', 'how often; figures are medians', count, 3)
  .option('--data <dir>', 'where the servers keep their data, instead of tmpfs')
  .option('--json <file>', 'write one JSON object to a file, - for standard output')
  .action(async options => print(await benchManifests(options), options.json))

program
  .command('simulate')
  .description('How soon would every node of a large cluster hold a blob? (simulated)')
  .option('--nodes <count>', 'nodes in all, the seed included', count, 1000)
  .option('--size <size>', 'size of the blob, as 64MiB', size, size('1GiB'))
  .option('--link <rate>', 'of every node, each way, as 200mbit', rate, rate('1gbit'))
  .option('--slow <share>', 'share of nodes at a tenth of the rate', share, 0)
  .option('--dead <share>', 'share of nodes that die on the way', share, 0)
  .option('--late <share>', 'share of nodes that join on the way', share, 0)
  .option('--corrupt <count>', 'nodes that send wrong pieces', natural, 0)
  .option('--seed <number>', 'of all chance: equal seeds give equal runs', natural, 1)
  .addOption(
    new Option('--policy <name>', 'who decides').choices(POLICIES).default('starling' as const)
  )
  .option('--rings <count>', 'overlay of so many rings, instead of the default', count)
  .option('--piece-size <size>', 'pieces of this size, instead of the default', size)
  .option('--json <file>', 'write one JSON object to a file, - for standard output')
  .action(async options => print(simulateSpread(options), options.json))

try {
  await program.parseAsync()
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = isCode(error, 'CONFIG_INVALID') ? CANNOT_SET_UP : 1
}

function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number from 1.')
  return value
}

function size(text: string): number {
  const bytes = parseSize(text)
  if (bytes === undefined) throw new InvalidArgumentError('a size such as 512KiB, 64MiB or 1GiB.')
  return bytes
}

function list(text: string): string[] {
  return text.split(',').filter(each => each !== '')
}

function natural(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0)
    throw new InvalidArgumentError('a whole number from 0.')
  return value
}

function share(text: string): number {
  const value = Number(text)
  if (!(value >= 0 && value < 1)) throw new InvalidArgumentError('a number from 0 to below 1.')
  return value
}

/** Bits per second. */
function rate(text: string): number {
  const [, digits, unit] = /^([1-9][0-9]*)(mbit|gbit)$/.exec(text) ?? []
  if (digits === undefined) throw new InvalidArgumentError('a rate such as 200mbit or 1gbit.')
  return Number(digits) * (unit === 'gbit' ? 1e9 : 1e6)
}
