import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { Command } from 'commander'
import { addSettings, type Config, formatHostPort, loadConfig, loadDataDir } from '../src/config.ts'
import { isCode } from '../src/errors.ts'

let directory = ''
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'starling-config-'))
})
after(() => rm(directory, { recursive: true }))

test('a node that is told nothing has every default', async () => {
  const { config, warnings } = await load([])
  assert.deepEqual(config, {
    dataDir: resolve('data'),
    registry: [{ host: '127.0.0.1', port: 5050 }],
    admin: { host: '127.0.0.1', port: 5051 },
    mesh: { host: '0.0.0.0', port: 5052 },
    transfer: { host: '0.0.0.0', port: 5053 },
    advertise: undefined,
    join: [],
    secretFile: undefined,
    name: config.name,
    hold: 'all',
    copies: 2,
    ackWaitMs: 25_000,
    ackShort: 'accept',
    deadAfterMs: 6_000,
    forgetAfterMs: 7 * 24 * 3_600_000,
    aloneAfterMs: 60_000,
    sparse: 'indexes',
    mirrorBare: false,
    mountOnHead: false,
    htpasswd: undefined,
    htpasswdGraceMs: undefined,
    policy: undefined,
    anonymous: undefined,
    publicUrl: undefined,
    tlsCert: undefined,
    tlsKey: undefined,
    tlsClientCa: undefined,
    maxDiskShare: 0.75,
    drainMs: 60_000,
    leaseMs: 24 * 3_600_000,
    gcGraceMs: 3_600_000,
    scrubBytesPerSecond: 20 * 1024 * 1024,
    maxEgress: 0,
    maxIngress: 0,
    backgroundShare: 0.25,
    logLevel: 'info'
  } satisfies Config)
  assert.notEqual(config.name, '')
  assert.deepEqual(warnings, [])
})

test('a flag overrules the environment, which overrules the file', async () => {
  const file = await settingsFile('name: of-file\nadvertise: of-file\ndead-after: 1s\n')
  const environment = { STARLING_NAME: 'of-environment', STARLING_ADVERTISE: 'of-environment' }
  const { config } = await load(['--config', file, '--name', 'of-flag'], environment)
  assert.equal(config.name, 'of-flag')
  assert.equal(config.advertise, 'of-environment')
  assert.equal(config.deadAfterMs, 1_000)
})

test('repeatable settings come as repeated flags, a list with commas, or a list in the file', async () => {
  const expected = [
    { host: '::', port: 0 },
    { host: 'node-1.example', port: 5050 }
  ]
  const file = await settingsFile('registry:\n  - "[::]:0"\n  - node-1.example:5050\n')
  const ways = [
    await load(['--registry', '[::]:0', '--registry', 'node-1.example:5050']),
    await load([], { STARLING_REGISTRY: '[::]:0, node-1.example:5050' }),
    await load([], { STARLING_CONFIG: file })
  ]
  for (const { config } of ways) assert.deepEqual(config.registry, expected)
})

test('a repeatable setting of a nearer source replaces that of a farther one', async () => {
  const { config } = await load(['--registry', 'a:1'], { STARLING_REGISTRY: 'b:2,c:3' })
  assert.deepEqual(config.registry, [{ host: 'a', port: 1 }])
})

test('every wrong setting is reported at once, with where it came from and what was expected', async () => {
  const file = await settingsFile('admin: nowhere\nregistery: 127.0.0.1:1\nname: [a, b]\n')
  const problems = await problemsOf(
    ['--config', file, '--registry', '127.0.0.1:70000', '--registry', 'b:2', '--join', 'mdns'],
    { STARLING_DEAD_AFTER: '6 seconds', STARLING_LOG_LEVEL: 'chatty' }
  )
  const found = (start: string) => problems.some(problem => problem.startsWith(start))
  assert.ok(found(`registery in ${file}: no such setting; expected one of data, registry,`))
  assert.ok(found(`name in ${file}: expected letters, digits`))
  assert.ok(found(`admin in ${file}: expected host:port`))
  assert.ok(found('--registry: expected host:port'))
  assert.ok(found('STARLING_DEAD_AFTER: expected a whole number above 0'))
  assert.ok(found('STARLING_LOG_LEVEL: expected one of debug, info, warn, error, silent'))
  assert.ok(found('--secret-file: expected the secret file of the cluster'))
  assert.equal(problems.length, 7)
})

test('who may do what is told without contradiction, and without locking everybody out', async () => {
  const starts = async (...flags: string[]) =>
    (await problemsOf(flags)).map(problem => problem.split(':')[0])
  assert.deepEqual(await starts('--anonymous', 'none'), ['--anonymous'])
  assert.deepEqual(await starts('--tls-cert', 'c'), ['--tls-cert, --tls-key'])
  assert.deepEqual(await starts('--tls-client-ca', 'c'), ['--tls-client-ca'])
  assert.deepEqual(await starts('--htpasswd-grace', '2m'), ['--htpasswd-grace'])
  assert.deepEqual(await starts('--public-url', 'https://a.example/path'), ['--public-url'])
  const { config } = await load(['--htpasswd', 'users', '--anonymous', 'none'])
  assert.equal(config.htpasswd, resolve('users'))
})

test('to join others without their secret is refused, whoever asks for it', async () => {
  const [problem] = await problemsOf([], { STARLING_JOIN: 'dns:starling.example:5052' })
  assert.match(problem ?? '', /^--secret-file: /)
  const secret = ['--secret-file', 'cluster.secret']
  const { config } = await load(secret, { STARLING_JOIN: 'dns:starling.example:5052' })
  assert.deepEqual(config.join, ['dns:starling.example:5052'])
  assert.equal(config.secretFile, resolve('cluster.secret'))
})

test('settings that are right one by one but clash are refused', async () => {
  const [clash] = await problemsOf(['--admin', '0.0.0.0:5052'])
  assert.match(clash ?? '', /^--mesh: expected an address of its own; 0\.0\.0\.0:5052 .* --admin/)
  const [order] = await problemsOf(['--dead-after', '2d', '--forget-after', '2d'])
  assert.match(order ?? '', /^--forget-after: /)
  await load(['--admin', '127.0.0.1:0', '--mesh', '127.0.0.1:0'])
})

test('a file that cannot be read or is no mapping is named', async () => {
  const missing = join(directory, 'missing.yaml')
  assert.match((await problemsOf(['--config', missing]))[0] ?? '', /missing\.yaml: .*ENOENT/)
  const list = await settingsFile('- a\n- b\n')
  assert.match((await problemsOf(['--config', list]))[0] ?? '', /expected a mapping/)
  const torn = await settingsFile('name: "a\n')
  assert.match((await problemsOf(['--config', torn]))[0] ?? '', /expected a readable YAML file/)
  await load(['--config', await settingsFile('# nothing yet\n')])
})

test('unknown variables warn and empty ones count as not set', async () => {
  const { config, warnings } = await load([], {
    STARLING_SERVICE_HOST: '10.0.0.1',
    STARLING_NAME: '',
    STARLING_JOIN: ' ',
    OTHER: 'x'
  })
  assert.deepEqual(warnings, ['STARLING_SERVICE_HOST: no such setting, ignored'])
  assert.notEqual(config.name, '')
  assert.deepEqual(config.join, [])
})

test('files that cannot be read are reported beside what else is wrong, each with its reason', async () => {
  const flags = ['--copies', '0', '--secret-file', '/none/secret', '--htpasswd', '/none/users']
  const command = addSettings(new Command()).parse(flags, { from: 'user' })
  const environment = { STARLING_POLICY: '/there' }
  const why = async (file: string) => (file === '/there' ? undefined : 'ENOENT')
  await assert.rejects(loadConfig(command.opts(), environment, why), ({ message }: Error) => {
    const [secret, copies, users, ...others] = message.split('\n')
    assert.match(secret ?? '', /^--secret-file: cannot read \/none\/secret \(ENOENT\): .* make /)
    assert.match(copies ?? '', /^--copies: expected /)
    assert.equal(users, '--htpasswd: cannot read /none/users (ENOENT)')
    assert.deepEqual(others, [])
    return true
  })
})

test('a command that only looks for the data ignores every other setting', async () => {
  const file = await settingsFile(`data: ${directory}\nadmin: wrong\n`)
  assert.equal(await loadDataDir({ config: file }, {}), directory)
  assert.equal(await loadDataDir({ config: file }, { STARLING_DATA: '/elsewhere' }), '/elsewhere')
  assert.equal(await loadDataDir({ config: file, data: '/flag' }, { STARLING_DATA: '/x' }), '/flag')
})

test('IPv6 is written in brackets', () => {
  assert.equal(formatHostPort({ host: '::1', port: 5050 }), '[::1]:5050')
  assert.equal(formatHostPort({ host: '10.0.0.1', port: 5050 }), '10.0.0.1:5050')
})

function load(flags: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const command = addSettings(new Command())
  command.parse(flags, { from: 'user' })
  return loadConfig(command.opts(), environment)
}

async function problemsOf(...given: Parameters<typeof load>): Promise<readonly string[]> {
  try {
    await load(...given)
  } catch (error) {
    if (isCode(error, 'CONFIG_INVALID')) return error.message.split('\n')
    throw error
  }
  assert.fail('the settings were accepted')
}

async function settingsFile(text: string): Promise<string> {
  const file = join(await mkdtemp(join(directory, 'file-')), 'starling.yaml')
  await writeFile(file, text)
  return file
}
