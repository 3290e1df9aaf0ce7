import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../helpers/command.ts'
import { openPair } from './pair.ts'
import { goTool } from './tools.ts'

const PLAIN = '--plain-http'
const CHART = `apiVersion: v2
name: greeter
description: A chart of one object
version: 1.2.3+build.4
`
const TEMPLATE = `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  greeting: {{ .Values.greeting }}
`

let program: string

const pair = openPair('helm', async () => {
  program = await goTool('helm')
})

test('helm pushes a chart to one node and pulls the same bytes from another at once', async () => {
  await mkdir(join(pair.directory, 'greeter/templates'), { recursive: true })
  await writeFile(join(pair.directory, 'greeter/Chart.yaml'), CHART)
  await writeFile(join(pair.directory, 'greeter/values.yaml'), 'greeting: hello\n')
  await writeFile(join(pair.directory, 'greeter/templates/greeting.yaml'), TEMPLATE)
  await helm('package', 'greeter')
  const archive = 'greeter-1.2.3+build.4.tgz'
  await helm('push', archive, `oci://${pair.first}/charts`, PLAIN)

  await mkdir(join(pair.directory, 'pulled'))
  const source = [`oci://${pair.second}/charts/greeter`, '--version', '1.2.3+build.4']
  await helm('pull', ...source, '--destination', 'pulled', PLAIN)
  assert.deepEqual(
    await readFile(join(pair.directory, 'pulled', archive)),
    await readFile(join(pair.directory, archive))
  )
})

test('a plus in a version is an underscore in the tag', async () => {
  const response = await fetch(`http://${pair.second}/v2/charts/greeter/tags/list`)
  assert.deepEqual(JSON.parse(await response.text()).tags, ['1.2.3_build.4'])
})

test('helm finds the latest version by the tags, and renders the chart from the registry', async () => {
  const chart = `oci://${pair.second}/charts/greeter`
  assert.match(await helm('show', 'chart', chart, PLAIN), /^version: 1\.2\.3\+build\.4$/m)
  const rendered = await helm('template', 'one', chart, '--set', 'greeting=moin', PLAIN)
  assert.match(rendered, /greeting: moin/)
})

test('helm is told that a chart is unknown', async () => {
  const chart = `oci://${pair.first}/charts/nonesuch`
  await assert.rejects(helm('pull', chart, '--version', '1.0.0', PLAIN), /not found/)
})

function helm(...args: string[]): Promise<string> {
  const home = ['CACHE', 'CONFIG', 'DATA'].map(name => [
    `HELM_${name}_HOME`,
    join(pair.directory, name)
  ])
  return run(program, args, { cwd: pair.directory, env: Object.fromEntries(home) })
}
