import assert from 'node:assert/strict'
import { glob, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'

/**
 * Who may import what of `src` (README, "Development"): top to bottom and never back. A folder is
 * named after itself, a file at the root of `src` without its ending.
 */
const BASE = [
  'digest',
  'errors',
  'clock',
  'log',
  'cache',
  'deadline',
  'directories',
  'small-file',
  'listen-error',
  'kernel'
]
const PLANES = ['records', 'swarm', 'mesh', 'store']
const SIDES = ['registry', 'admin', 'replication']
const SHARED = [...BASE, 'json', 'manifest', 'metrics', 'happening']
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  // The version is in package.json.
  main: ['demo', 'daemon', 'config', ...SIDES, ...SHARED, 'package.json', 'young-generation'],
  demo: ['daemon', 'config', ...SIDES, ...SHARED],
  daemon: [
    'doors',
    'config',
    'data-dir',
    'closers',
    ...SIDES,
    ...PLANES,
    ...SHARED,
    'package.json'
  ],
  doors: ['config', 'closers', ...SIDES, ...PLANES, ...SHARED],
  registry: [...PLANES, ...SHARED],
  // The commands it adds say where the data is.
  admin: ['config', ...PLANES, ...SHARED],
  replication: [...PLANES, ...SHARED],
  records: BASE,
  swarm: BASE,
  mesh: BASE,
  store: BASE,
  config: BASE,
  metrics: BASE,
  manifest: [...BASE, 'json'],
  json: BASE,
  happening: BASE,
  digest: BASE,
  errors: BASE,
  'listen-error': BASE,
  clock: BASE,
  'data-dir': BASE,
  deadline: [],
  directories: [],
  'small-file': BASE,
  kernel: [],
  closers: [],
  log: BASE,
  'young-generation': [],
  cache: BASE
}

/** Packages that stay behind one door, and which. */
const PACKAGES: readonly { readonly name: RegExp; readonly only: readonly string[] }[] = [
  { name: /^(libp2p|@libp2p\/.+|@chainsafe\/.+|@multiformats\/.+)$/, only: ['mesh'] },
  { name: /^(fastify|@fastify\/.+)$/, only: ['registry', 'admin'] },
  { name: /^(level|classic-level|abstract-level)$/, only: ['store', 'records'] },
  { name: /^koffi$/, only: ['kernel'] }
]

/** What reaches outside, and the one file that does. */
const REACHES: readonly { readonly code: RegExp; readonly only: string }[] = [
  { code: /\bprocess\.env\b/, only: 'src/config.ts' },
  { code: /\bprocess\.exit\b/, only: 'src/main.ts' },
  { code: /\b(Date\.now|performance\.now|Math\.random)\b/, only: 'src/clock.ts' }
]

test('imports in src point one way only', async () => {
  const files = await Array.fromAsync(glob('src/**/*.ts'))
  assert.ok(files.includes('src/main.ts'), 'run from the root of the repository')
  const texts = await Promise.all(files.map(file => readFile(file, 'utf8')))
  assert.deepEqual(
    files.flatMap((file, index) => breaches(file, texts[index] ?? '')),
    []
  )
})

test('a breach is found whatever form it takes', () => {
  const breach = (file: string, text: string) => assert.equal(breaches(file, text).length, 1, text)
  breach('src/store/blobs.ts', "import { Mesh } from '../mesh/mesh.ts'")
  breach('src/mesh/node.ts', "import type { Blobs } from '../store/blobs.ts'")
  breach('src/digest.ts', "import './store/blobs.ts'")
  breach('src/records/records.ts', "export {\n  Replicator\n} from '../replication/replicator.ts'")
  breach('src/registry/server.ts', "const { Daemon } = await import('../daemon.ts')")
  breach('src/registry/server.ts', "import { AdminServer } from '../admin/server.ts'")
  breach('src/swarm/server.ts', "import { fastify } from 'fastify'")
  breach('src/replication/wire.ts', "import { multiaddr } from '@multiformats/multiaddr'")
  breach('src/replication/index.ts', "import { Level } from 'level'")
  breach('src/store/blobs.ts', "import { until } from '../../test/helpers/until.ts'")
  breach('src/mesh/secret.ts', 'const secret = process.env.SECRET')
  breach('src/daemon.ts', 'process.exit(1)')
  breach('src/unheard-of/thing.ts', 'export const thing = 1')
  assert.deepEqual(breaches('src/mesh/node.ts', "import { createLibp2p } from 'libp2p'"), [])
  assert.deepEqual(breaches('src/daemon.ts', '// The caller ends with process.exit.'), [])
})

/** What a file imports or touches and must not, one sentence each. */
function breaches(file: string, text: string): string[] {
  const code = withoutComments(text)
  const area = areaOf(file)
  const allowed = MAY_IMPORT[area]
  if (allowed === undefined) return [`${file}: ${area} has no place in the layers`]
  const found: string[] = []
  for (const imported of importsOf(code)) {
    if (imported.startsWith('.')) {
      const target = areaOf(join(dirname(file), imported))
      if (target !== area && !allowed.includes(target)) {
        found.push(`${file}: ${area} must not import ${imported}`)
      }
      continue
    }
    for (const { name, only } of PACKAGES) {
      if (name.test(imported) && !only.includes(area)) {
        found.push(`${file}: only ${only.join(' and ')} may import ${imported}`)
      }
    }
  }
  for (const { code: pattern, only } of REACHES) {
    if (pattern.test(code) && file !== only) {
      found.push(`${file}: only ${only} may use ${pattern.source}`)
    }
  }
  return found
}

/** Static, dynamic, type-only and re-exporting imports alike. */
function importsOf(code: string): string[] {
  return [...code.matchAll(/\b(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map(
    ([, name = '']) => name
  )
}

/** The part of `src` a file is in, or its whole path where it is outside of `src`. */
function areaOf(file: string): string {
  return /^src\/([^/]+?)(?:\.ts|\/.+)$/.exec(file)?.[1] ?? file
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/(^|\s)\/\/.*$/gm, '')
}
