import { access, constants, readdir, rm } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { run } from '../helpers/command.ts'
import { madeOnce } from './cache.ts'

/** Clients that Debian does not carry, at the versions the tests were written against. */
const SOURCES = {
  crane: 'github.com/google/go-containerregistry/cmd/crane@v0.22.1',
  helm: 'helm.sh/helm/v3/cmd/helm@v3.22.0',
  oras: 'oras.land/oras/cmd/oras@v1.3.6'
} as const

export type GoTool = keyof typeof SOURCES

export const GO_TOOLS = Object.keys(SOURCES) as readonly GoTool[]

/** Compiling one of them takes half a minute on an idle machine. */
const BUILD_TIMEOUT_MS = 10 * 60_000

/** Raise it when another package, or more of it, is wanted. */
const DOCKER_RECIPE_VERSION = 1
const DOWNLOAD_TIMEOUT_MS = 5 * 60_000

const DEBIAN_TOOLS = ['skopeo', 'buildah', 'containerd', 'ctr', 'runc', 'mmdebstrap'] as const

/** The path of a client written in Go, compiled the first time it is asked for on this machine. */
export async function goTool(name: GoTool): Promise<string> {
  const source = SOURCES[name]
  const directory = await madeOnce(`${name}-${source.split('@')[1]}`, async making => {
    await run('go', ['install', source], {
      env: { GOBIN: making, GOFLAGS: '-buildvcs=false' },
      timeoutMs: BUILD_TIMEOUT_MS
    })
  })
  return join(directory, name)
}

/**
 * The directory of Debian's Docker, engine and client, unpacked the first time it is asked for on
 * this machine: to install it would start a service and change the machine's network.
 */
export function dockerDirectory(): Promise<string> {
  return madeOnce(`docker-${DOCKER_RECIPE_VERSION}`, async making => {
    const options = { cwd: making, timeoutMs: DOWNLOAD_TIMEOUT_MS }
    await run('apt-get', ['--quiet', 'download', 'docker.io'], options)
    const [archive] = (await readdir(making)).filter(name => name.endsWith('.deb'))
    if (archive === undefined) throw new Error('apt-get downloaded no docker.io')
    await run('dpkg', ['-x', archive, making], { cwd: making })
    await rm(join(making, archive))
  })
}

/** Throws with the names of all the programs of Debian's that are not on this machine. */
export async function requireDebianTools(): Promise<void> {
  const missing: string[] = []
  for (const tool of DEBIAN_TOOLS) {
    if (!(await isOnPath(tool))) missing.push(tool)
  }
  if (missing.length > 0) throw new Error(`not installed: ${missing.join(', ')}`)
}

async function isOnPath(tool: string): Promise<boolean> {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      await access(join(directory, tool), constants.X_OK)
      return true
    } catch {
      // Not in this directory; the next may have it.
    }
  }
  return false
}
