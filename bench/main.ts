import { Command, CommanderError, Option } from 'commander'
import { isCode } from '../src/errors.ts'
import { benchCalibrate } from './calibrate.ts'
import { benchReport } from './draw.ts'
import { benchJoin } from './join.ts'
import { removeOwn } from './leftovers.ts'
import { benchManifests } from './manifests.ts'
import { benchMixed } from './mixed.ts'
import {
  count,
  counts,
  dataOption,
  expectOption,
  jsonOption,
  linkOption,
  list,
  natural,
  rate,
  runsOption,
  share,
  size,
  sizeOption
} from './options.ts'
import { benchPull } from './pull.ts'
import { benchPush } from './push.ts'
import { benchReplicate } from './replicate.ts'
import { print } from './report.ts'
import { benchSimulate, POLICIES } from './simulate.ts'
import { benchSmall } from './small.ts'

/** Exit code of wrong usage, and of what cannot be set up as asked: nothing falls back silently. */
const CANNOT_SET_UP = 2

/** As shells say of a program that a signal ended. */
const INTERRUPTED = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

const program = new Command('bench')
  .description('Measures Starling; each bench answers one question.')
  .exitOverride()

program
  .command('replicate')
  .description('How soon does every node hold a blob that was pushed to one of them?')
  .option('--nodes <counts>', 'nodes in all, the seed included; several: 2,4,8', counts, [8])
  .addOption(sizeOption('size of a blob', '256MiB'))
  .option('--blobs <count>', 'how many blobs of that size', count, 1)
  .addOption(linkOption('200mbit'))
  .option(
    '--against <urls>',
    'admin URLs of a running cluster, the seed first, comma-separated',
    list
  )
  .option('--registry <url>', 'with --against: the registry URL of the seed')
  .addOption(expectOption())
  .addOption(runsOption(3))
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchReplicate(options), options.json))

program
  .command('calibrate')
  .description('Do real nodes and simulated ones take equally long? Exits 1 above 15 % difference')
  .option('--nodes <counts>', 'nodes in all, the seed included', counts, [2, 4, 8])
  .addOption(sizeOption('size of the blob', '64MiB'))
  .addOption(linkOption('200mbit'))
  .addOption(runsOption(3))
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchCalibrate(options), options.json))

program
  .command('pull')
  .description('How fast does a client get a large blob that is in memory?')
  .addOption(sizeOption('size of the blob', '1GiB'))
  .option('--against <names>', 'docker-registry, nginx', list, list('docker-registry,nginx'))
  .addOption(runsOption(5))
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchPull(options), options.json))

program
  .command('push')
  .description('How soon is a large blob stored, durably and verified?')
  .addOption(sizeOption('size of the blob', '1GiB'))
  .option('--against <names>', 'docker-registry, nginx', list, list('docker-registry,nginx'))
  .addOption(runsOption(3))
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchPush(options), options.json))

program
  .command('manifests')
  .description('How many manifests does a server give in a second?')
  .addOption(new Option('--by <what>', 'asked for by').choices(['tag', 'digest']).default('tag'))
  .option('--against <names>', 'docker-registry', list, list('docker-registry'))
  .addOption(runsOption(3))
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchManifests(options), options.json))

program
  .command('mixed')
  .description('How many pushes, pulls and questions a second, all at once?')
  .option('--connections <count>', 'clients at once', count, 16)
  .addOption(sizeOption('size of the layer of each image', '256KiB'))
  .option('--against <names>', 'docker-registry', list, list('docker-registry'))
  .addOption(runsOption(3))
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchMixed(options), options.json))

program
  .command('small')
  .description('How many small images a second, and how soon is a tag visible elsewhere? (3 nodes)')
  .option('--images <count>', 'how many images', count, 200)
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchSmall(options), options.json))

program
  .command('join')
  .description('How soon does an empty node hold everything?')
  .addOption(sizeOption('of all that the others hold', '2GiB'))
  .option('--blobs <count>', 'in how many blobs', count, 8)
  .option('--nodes <count>', 'nodes before the join', count, 3)
  .addOption(linkOption('200mbit'))
  .addOption(dataOption())
  .addOption(jsonOption())
  .action(async options => print(await benchJoin(options), options.json))

program
  .command('simulate')
  .description('How soon would every node of a large cluster hold a blob? (simulated)')
  .option('--nodes <counts>', 'nodes in all, the seed included; several: 10,100', counts, [1000])
  .addOption(sizeOption('size of the blob', '1GiB'))
  .addOption(
    new Option('--link <rate>', 'of every node, each way, as 200mbit')
      .argParser(rate)
      .default(rate('1gbit'), '1gbit')
  )
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
  .addOption(expectOption())
  .option('--pieces', 'put into the JSON when each piece came to each node')
  .addOption(jsonOption())
  .action(async options => print(benchSimulate(options), options.json))

program
  .command('report')
  .description(
    'Draws what other benches found: time against the number of nodes, pieces in one run'
  )
  .argument('<files...>', 'JSON files of replicate and simulate')
  .option('--out <dir>', 'where spread.svg and pieces.svg are written', 'bench/pictures')
  .action(async (files, options) => benchReport({ files, ...options }))

for (const [signal, code] of Object.entries(INTERRUPTED)) {
  process.once(signal, async () => {
    await removeOwn().catch(error => console.error(`bench: ${error}`))
    process.exit(code)
  })
}

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : CANNOT_SET_UP
  } else {
    console.error(`bench: ${error instanceof Error ? error.message : error}`)
    process.exitCode = isCode(error, 'CONFIG_INVALID') ? CANNOT_SET_UP : 1
  }
}
