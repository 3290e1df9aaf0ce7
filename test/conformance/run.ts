import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Daemon } from '../helpers/daemon.ts'
import { buildSuite, findGo, runSuite } from './suite.ts'
import { makeVariants, type Variant } from './variants.ts'

/**
 * `npm run conformance`: the official suite against a node of its own, once for each variant. Exits
 * with 0 when all of it passes, 1 when anything fails, errs, is skipped or is turned off, and 2
 * where there is no Go.
 */

const go = await findGo()
if (go === undefined) {
  console.log('conformance: NOT RUN, there is no Go here, which the official suite is built with')
  process.exit(2)
}
const suite = await buildSuite(go)
const directory = await mkdtemp(join(tmpdir(), 'conformance-'))
try {
  for (const [index, variant] of (await makeVariants(directory)).entries()) {
    await check(suite, variant, join(directory, String(index)))
  }
} finally {
  await rm(directory, { recursive: true, force: true })
}

async function check(suite: string, { name, flags, env }: Variant, home: string): Promise<void> {
  const resultsDir = join(home, 'results')
  await mkdir(resultsDir, { recursive: true })
  const daemon = await Daemon.start({
    name: 'conformance',
    dataDir: join(home, 'data'),
    // The suite pushes an image without one of its layers, which a node takes only when told to.
    flags: ['--sparse', 'all', ...flags]
  })
  try {
    await daemon.ready()
    const { registry } = daemon.addresses
    const { cases, outcomes, short } = await runSuite({ suite, registry, resultsDir, env })
    const counts = Object.entries(outcomes).map(([outcome, count]) => `${count} ${outcome}`)
    for (const line of short) console.log(line)
    console.log(`conformance (${name}): ${counts.join(', ')}; ${cases} cases`)
    if (short.length > 0) process.exitCode = 1
  } finally {
    await daemon.stop()
  }
}
