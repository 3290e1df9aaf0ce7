import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { Child } from '../helpers/child.ts'
import { run } from '../helpers/command.ts'
import { Fatal, until } from '../helpers/until.ts'
import { dockerDirectory } from './tools.ts'

/**
 * A Docker engine of its own, beside any other on the machine, with its client. Needs root. It has
 * no network for containers and touches no firewall: it is only to push and pull.
 */
export class Docker {
  readonly #directory: string
  readonly #path: string
  readonly #engine: Child

  private constructor(directory: string, path: string, engine: Child) {
    this.#directory = directory
    this.#path = path
    this.#engine = engine
  }

  static async start(): Promise<Docker> {
    const unpacked = await dockerDirectory()
    const directory = await mkdtemp(join(tmpdir(), 'starling-docker-'))
    const paths = [join(unpacked, 'usr/sbin'), join(unpacked, 'usr/bin')]
    const path = [...paths, process.env['PATH'] ?? ''].join(delimiter)
    await mkdir(join(directory, 'config'))
    const engine = await Child.spawn(join(unpacked, 'usr/sbin/dockerd'), flagsOf(directory), {
      env: { ...process.env, PATH: path }
    })
    const docker = new Docker(directory, join(unpacked, 'usr/bin/docker'), engine)
    try {
      await until(() => docker.#answers(), {
        what: 'the Docker engine to answer'
      })
      return docker
    } catch (error) {
      await docker.close()
      throw new Error(`dockerd did not start\n${engine.output}`, { cause: error })
    }
  }

  /** Runs the client. What it logs in with is kept for this engine alone. */
  run(...args: string[]): Promise<string> {
    const where = ['--config', join(this.#directory, 'config'), '--host', hostOf(this.#directory)]
    return run(this.#path, [...where, ...args])
  }

  async close(): Promise<void> {
    await this.#engine.end('SIGTERM')
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 })
  }

  async #answers(): Promise<boolean> {
    if (this.#engine.ended !== undefined) throw new Fatal(`dockerd: ${this.#engine.ended}`)
    await this.run('version')
    return true
  }
}

function hostOf(directory: string): string {
  return `unix://${join(directory, 'socket')}`
}

function flagsOf(directory: string): string[] {
  return [
    ...['--host', hostOf(directory), '--pidfile', join(directory, 'pid')],
    ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec')],
    ...['--bridge', 'none', '--iptables=false', '--ip-forward=false', '--ip-masq=false'],
    // Works on any file system, as overlayfs on overlayfs does not.
    ...['--storage-driver', 'vfs']
  ]
}
