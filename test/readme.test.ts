import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { settingsTable } from '../src/config.ts'

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

/** What stands between `<!-- name -->` and `<!-- /name -->` in the README. */
async function marked(name: string): Promise<string> {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
  const [, text] = readme.split(new RegExp(`<!-- /?${name} -->`))
  assert.ok(text !== undefined, `README.md has no <!-- ${name} --> ... <!-- /${name} -->`)
  return text.trim()
}
