import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { madeOnce } from '../clients/cache.ts'
import { run } from '../helpers/command.ts'

/**
 * The official suite of the OCI distribution specification as of August 2026. There is no tag for
 * it: the tagged ones are of before its rewrite and look at much less.
 */
const MODULE = 'github.com/opencontainers/distribution-spec/conformance'
const VERSION = 'v0.0.0-20260831232431-97274622c111'

const BUILD_TIMEOUT_MS = 300_000
/** A run takes some seconds on an idle machine. */
const RUN_TIMEOUT_MS = 180_000

/** Where Go is, if it is installed. */
export async function findGo(): Promise<string | undefined> {
  for (const command of ['go', '/usr/local/go/bin/go', '/usr/lib/go/bin/go']) {
    try {
      await promisify(execFile)(command, ['version'])
      return command
    } catch {
      // Not here; the next place may have it.
    }
  }
  return undefined
}

/** Builds the suite, once per machine, and gives the path of the program. */
export async function buildSuite(go: string): Promise<string> {
  const directory = await madeOnce(`conformance-${VERSION}`, async making => {
    await run(go, ['install', `${MODULE}@${VERSION}`], {
      env: { GOBIN: making, GOFLAGS: '' },
      timeoutMs: BUILD_TIMEOUT_MS
    })
  })
  return join(directory, 'conformance')
}

export interface SuiteOptions {
  readonly suite: string
  /** `host:port` of the registry. */
  readonly registry: string
  /** Where the suite writes its reports. */
  readonly resultsDir: string
  /** Further settings of the suite, such as `OCI_USERNAME`. */
  readonly env?: Readonly<Record<string, string>>
}

/** What the suite found: how many of each outcome, and by name all that is not a pass. */
export interface SuiteResult {
  readonly cases: number
  readonly outcomes: Readonly<Record<string, number>>
  readonly short: readonly string[]
}

/**
 * Runs the suite with everything turned on that it can look at. Its exit code says little: it is 0
 * also when it could not read its settings. So what counts is what it wrote.
 */
export async function runSuite({
  suite,
  registry,
  resultsDir,
  env
}: SuiteOptions): Promise<SuiteResult> {
  const settings = {
    ...{ OCI_REGISTRY: registry, OCI_TLS: 'disabled', OCI_RESULTS_DIR: resultsDir },
    ...{ OCI_REPO1: 'conformance/one', OCI_REPO2: 'conformance/two' },
    ...{ OCI_VERSION: 'dev', OCI_DATA_SPARSE: 'true', ...env }
  }
  const printed = await run(suite, [], {
    cwd: resultsDir,
    env: settings,
    timeoutMs: RUN_TIMEOUT_MS
  }).catch(String)
  const file = join(resultsDir, 'results.yaml')
  if (!existsSync(file)) throw new Error(`the suite wrote no results.yaml\n${printed}`)
  const junit = await readFile(join(resultsDir, 'junit.xml'), 'utf8')
  return judge(
    await readFile(file, 'utf8'),
    Number(/<testsuites [^>]*tests="(\d+)"/.exec(junit)?.[1])
  )
}

/** Counts the outcomes of `results.yaml`: of each API, and of each kind of data that was pushed. */
export function judge(results: string, cases: number): SuiteResult {
  const { apis, data } = parse(results) as Record<'apis' | 'data', Record<string, string>>
  const all = [...Object.entries(apis ?? {}), ...Object.entries(data ?? {})]
  if (all.length === 0) throw new Error('results.yaml has no results')
  const outcomes: Record<string, number> = {}
  for (const [, outcome] of all) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  const short = all.filter(([, outcome]) => outcome !== 'Pass').map(pair => pair.join(': '))
  return { cases, outcomes, short }
}
