import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../helpers/command.ts'
import { madeOnce } from './cache.ts'

/** An image as an OCI layout on disk. */
export interface LayoutImage {
  /** The layout's directory; the image in it has the tag `bookworm`. */
  readonly layout: string
  /** The digest of its manifest. */
  readonly digest: string
  readonly layers: readonly { readonly digest: string; readonly size: number }[]
}

interface Descriptor {
  readonly digest: string
  readonly size: number
}

/** Raise it when what is made below changes, so that no machine keeps the old one. */
const RECIPE_VERSION = 1

const BOOTSTRAP_TIMEOUT_MS = 5 * 60_000

/**
 * A real Debian 12, of its essential packages, about 50 MB compressed; made from Debian's packages
 * the first time it is asked for on this machine, which takes some 20 seconds. Needs root.
 */
export async function debianImage(): Promise<LayoutImage> {
  const directory = await madeOnce(`debian-bookworm-${RECIPE_VERSION}`, make)
  const layout = join(directory, 'layout')
  const index = await readJson<{ manifests: [Descriptor] }>(join(layout, 'index.json'))
  const { digest } = index.manifests[0]
  const manifest = await readJson<{ layers: Descriptor[] }>(
    join(layout, 'blobs', digest.replace(':', '/'))
  )
  return { layout, digest, layers: manifest.layers }
}

async function make(directory: string): Promise<void> {
  const tar = join(directory, 'root.tar')
  const storage = join(directory, 'storage')
  const buildah = (...args: string[]): Promise<string> =>
    run('buildah', ['--root', storage, '--runroot', join(directory, 'run'), ...args], {
      // Works on any file system, as overlayfs on overlayfs does not.
      env: { STORAGE_DRIVER: 'vfs' },
      timeoutMs: BOOTSTRAP_TIMEOUT_MS
    })
  await run('mmdebstrap', ['--quiet', '--variant=essential', 'bookworm', tar], {
    timeoutMs: BOOTSTRAP_TIMEOUT_MS
  })
  const container = await buildah('from', 'scratch')
  await buildah('add', '--quiet', container, tar, '/')
  await buildah('config', '--cmd', '/bin/bash', container)
  const target = `oci:${join(directory, 'layout')}:bookworm`
  await buildah('commit', '--quiet', '--disable-compression=false', container, target)
  await buildah('rm', container)
  await Promise.all(
    [tar, storage, join(directory, 'run')].map(path => rm(path, { recursive: true }))
  )
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, 'utf8')) as T
}
