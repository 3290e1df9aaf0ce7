import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { parse } from 'yaml'
import { openMetrics } from '../src/metrics.ts'

interface Rules {
  readonly groups: readonly { readonly rules: readonly Rule[] }[]
}
interface Rule {
  readonly alert: string
  readonly expr: string
  readonly annotations: { readonly summary: string; readonly action: string }
}

test('alerts ask for metrics that a node has, and say what to do', async t => {
  const metrics = openMetrics()
  t.after(() => metrics.close())
  const text = await metrics.text()
  const known = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name))
  const rules = (await alerts()).groups.flatMap(group => group.rules)
  for (const { alert, expr, annotations } of rules) {
    const asked = expr.match(/starling_\w+/g) ?? []
    assert.ok(asked.length > 0 || expr === 'up{job="starling"} == 0', alert)
    for (const name of asked) assert.ok(known.has(name), `${alert} asks for ${name}`)
    assert.ok(annotations.summary && annotations.action, alert)
  }
  assert.ok(rules.some(({ expr }) => expr.includes('starling_under_replicated_images')))
})

async function alerts(): Promise<Rules> {
  return parse(await readFile(new URL('../daemonset/alerts.yaml', import.meta.url), 'utf8'))
}
