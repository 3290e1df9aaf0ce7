import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort, startProgram } from './program.ts'
import type { Rival } from './rival.ts'

/** Debian's `docker-registry` with the cache of its own default settings, and without a log. */
export async function startDockerRegistry(dir: string): Promise<Rival> {
  const name = 'docker-registry'
  const dataDir = join(dir, name)
  const config = join(dir, `${name}.yml`)
  const port = await freePort()
  await mkdir(dataDir, { recursive: true })
  await writeFile(config, configOf(dataDir, port))
  const program = await startProgram(name, ['serve', config], port, join(dir, `${name}.log`))
  return { name, port, dataDir, ...program }
}

function configOf(dataDir: string, port: number): string {
  return `version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  cache:
    blobdescriptor: inmemory
  delete:
    enabled: true
  filesystem:
    rootdirectory: ${dataDir}
http:
  addr: 127.0.0.1:${port}
`
}
