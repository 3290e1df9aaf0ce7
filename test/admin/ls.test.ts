import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runLs } from '../../src/admin/commands/ls.ts'
import { Notebook, ScriptedNode } from './scripted-node.ts'

test('a cluster without any image is no error', async () => {
  const screen = new Notebook()
  const node = new ScriptedNode()
  const code = await runLs({
    client: {
      where: 'here',
      status: async page => {
        const status = await node.status(page)
        return { ...status, images: [] }
      },
      copies: reference => node.copies(reference),
      events: (_follow, signal) => node.follow(signal)
    },
    ...{ screen, repository: undefined, json: false },
    signal: new AbortController().signal
  })
  assert.equal(code, 0)
  assert.equal(screen.text, '')
})
