import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Command } from 'commander'
import { addAdminCommands } from '../src/admin/commands/program.ts'
import { settingsTable } from '../src/config.ts'
import { hostsToml } from './helpers/hosts-toml.ts'

const MAIN = new URL('../src/main.ts', import.meta.url).pathname

test('the settings in the README are those of the code', async () => {
  const message = `README.md needs, between its settings marks:\n\n${settingsTable()}\n`
  assert.equal(await marked('settings'), settingsTable(), message)
})

test('the commands in the README are those of --help', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, '--help'])
  const help = stdout.slice(stdout.indexOf('\nCommands:'))
  const commands = [...help.matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name)
  const rows = [...(await marked('commands')).matchAll(/^\| `([a-z]+)/gm)].map(([, name]) => name)
  assert.deepEqual(
    rows,
    commands.filter(name => name !== 'help')
  )
})

test('the flags of each command in the README are those it has', async () => {
  const program = new Command()
  const screen = { write: () => undefined }
  const pipes = { input: () => process.stdin, output: process.stdout, notes: screen }
  addAdminCommands(program, { screen, pipes, signal: AbortSignal.abort(), ended: () => undefined })
  const rows = (await marked('commands')).split('\n')
  for (const command of program.commands) {
    const row = rows.find(each => new RegExp(`^\\| \`${command.name()}\\b`).test(each)) ?? ''
    const own = command.options.map(({ long }) => long ?? '').filter(flag => !COMMON.has(flag))
    const shown = [...row.matchAll(/`(--[a-z-]+)/g)].map(([, flag]) => flag)
    assert.deepEqual(new Set(shown), new Set(own), command.name())
  }
})

test('hosts.toml is the same in both guides, and of a form that containerd 1.6 reads', async () => {
  const toml = await hostsToml('127.0.0.1:5050')
  assert.equal(await hostsToml('127.0.0.1:5050', 'daemonset/README.md'), toml)
  // Without a table of hosts 1.6 refuses the file, and asks the internet (containerd issue 10027).
  assert.match(toml, /^server = "http:\/\/127\.0\.0\.1:5050"\n\[host\]/m)
})

/** Which node is asked, the same way for all. */
const COMMON = new Set(['--config', '--data', '--url'])

/** What stands between `<!-- name -->` and `<!-- /name -->` in the README. */
async function marked(name: string): Promise<string> {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const [, text] = readme.split(new RegExp(`<!-- /?${name} -->`))
  assert.ok(text !== undefined, `README.md has no <!-- ${name} --> ... <!-- /${name} -->`)
  return text.trim()
}
