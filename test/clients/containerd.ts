import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from '../helpers/child.ts'
import { run } from '../helpers/command.ts'
import { hostsToml } from '../helpers/hosts-toml.ts'
import { Fatal, until } from '../helpers/until.ts'
import { ImageService } from './cri.ts'
import type { Login } from './logins.ts'

/**
 * A containerd of its own, with its CRI plugin, beside any other on the machine: the node's side of
 * a pull, without kubelet. Needs root. Its registry settings are those that containerd reads on a
 * Kubernetes node: a directory of `hosts.toml` files, read anew on each pull.
 */
export class Containerd {
  readonly images: ImageService
  readonly #directory: string
  readonly #child: Child

  private constructor(directory: string, child: Child) {
    this.#directory = directory
    this.#child = child
    this.images = new ImageService(join(directory, 'socket'))
  }

  static async start(): Promise<Containerd> {
    const directory = await mkdtemp(join(tmpdir(), 'starling-containerd-'))
    await mkdir(join(directory, 'certs.d'))
    await writeFile(join(directory, 'config.toml'), configOf(directory))
    const child = await Child.spawn('containerd', ['--config', join(directory, 'config.toml')])
    const containerd = new Containerd(directory, child)
    try {
      await until(() => containerd.#answers(), {
        what: 'containerd to answer on its CRI socket'
      })
      return containerd
    } catch (error) {
      await containerd.close()
      throw new Error(`containerd did not start\n${child.output}`, { cause: error })
    }
  }

  /** The end of its log. */
  get log(): string {
    return this.#child.output
  }

  /**
   * Sends pulls of images of `host` to a mirror at `address` and nowhere else: with the mirror as
   * the server, containerd never asks the host itself, as in an air gap. The file is the README's.
   *
   * @param login sent with every request, as a node that has no pull secrets is set up
   */
  async mirror(host: string, address: string, login?: Login): Promise<void> {
    const directory = join(this.#directory, 'certs.d', host)
    await mkdir(directory, { recursive: true })
    const toml = await hostsToml(address)
    const basic = login && Buffer.from(`${login.user}:${login.password}`).toString('base64')
    const table = `[host."http://${address}"]\n  capabilities = ["pull", "resolve"]\n`
    const header = `  [host."http://${address}".header]\n    Authorization = "Basic ${basic}"\n`
    await writeFile(join(directory, 'hosts.toml'), basic ? toml + table + header : toml)
  }

  /** Runs a command in a container of an image it has, and gives what the command printed. */
  async runIn(image: string, name: string, ...command: string[]): Promise<string> {
    return await this.#ctr('run', '--rm', '--snapshotter', 'overlayfs', image, name, ...command)
  }

  /** Pushes an image that it has, under another name, over plain HTTP. */
  async push(image: string, name: string, login?: Login): Promise<void> {
    const user = login === undefined ? [] : ['--user', `${login.user}:${login.password}`]
    await this.#ctr('images', 'tag', '--force', image, name)
    await this.#ctr('images', 'push', '--plain-http', ...user, name)
    await this.#ctr('images', 'remove', name)
  }

  /** Takes in the images of an archive, under the names that they have there. */
  async import(archive: string): Promise<void> {
    await this.#ctr('images', 'import', archive)
  }

  /** The digest that it knows an image by. */
  async digestOf(image: string): Promise<string | undefined> {
    const listed = await this.#ctr('images', 'ls', `name==${image}`)
    return /\bsha(?:256|512):[0-9a-f]+/.exec(listed)?.[0]
  }

  /** Removes an image, by all its names, and every byte of it, so that the next pull starts from nothing. */
  async forget(image: string): Promise<void> {
    await this.images.remove(image)
    await this.#ctr('content', 'prune', 'references')
    const left = await this.#ctr('content', 'ls', '--quiet')
    if (left !== '') throw new Error(`containerd still has content\n${left}`)
  }

  async close(): Promise<void> {
    await this.#child.end('SIGTERM')
    await unmountUnder(this.#directory)
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 })
  }

  #ctr(...args: string[]): Promise<string> {
    return run('ctr', ['--address', join(this.#directory, 'socket'), '-n', 'k8s.io', ...args])
  }

  async #answers(): Promise<boolean> {
    if (this.#child.ended !== undefined) throw new Fatal(`containerd: ${this.#child.ended}`)
    await this.images.has('none')
    return true
  }
}

function configOf(directory: string): string {
  const unused = ['aufs', 'btrfs', 'devmapper', 'zfs'].map(
    name => `"io.containerd.snapshotter.v1.${name}"`
  )
  return `version = 2
root = "${join(directory, 'root')}"
state = "${join(directory, 'state')}"
disabled_plugins = [${unused.join(', ')}]

[grpc]
  address = "${join(directory, 'socket')}"

[ttrpc]
  address = "${join(directory, 'ttrpc')}"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "${join(directory, 'certs.d')}"
`
}

/** Unmounts what a container that was cut off left mounted, the deepest first. */
async function unmountUnder(directory: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mounts', 'utf8'))
    .split('\n')
    .map(line => line.split(' ')[1] ?? '')
    .filter(path => path.startsWith(`${directory}/`))
  for (const mount of mounts.sort().reverse()) await run('umount', [mount])
}
