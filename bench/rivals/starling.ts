import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { NodeProcess } from '../../src/demo/node-process.ts'
import type { Rival } from './rival.ts'

const READY_TIMEOUT_MS = 30_000

/** One node on its own, as `npm run starling -- serve` starts it. */
export async function startStarling(dir: string): Promise<Rival> {
  const name = 'starling'
  const dataDir = join(dir, name)
  const secretFile = join(dir, 'cluster.secret')
  await writeFile(secretFile, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
  const node = await NodeProcess.start({ name, dataDir, secretFile, flags: ['--max-disk', '95%'] })
  await node.until(({ ready }) => ready, AbortSignal.timeout(READY_TIMEOUT_MS))
  const port = Number(new URL(`http://${node.addresses.registry}`).port)
  return { name, port, pid: node.pid, dataDir, stop: () => node.stop() }
}
