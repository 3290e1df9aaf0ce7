import type { Writable } from 'node:stream'
import { StarlingError } from '../../errors.ts'
import { createArchive, writeArchive } from '../archive/layout-archive.ts'
import { FULL_NAME, REF_NAME } from '../image-names.ts'
import { pullImage } from '../image-pull.ts'
import type { ImageSink } from '../image-sink.ts'
import type { LayoutImage } from '../image-source.ts'
import type { ImageReference } from '../introspection.ts'
import { createLayout } from '../layout-directory.ts'
import { formatReference } from '../reference.ts'
import type { RegistryClient } from '../registry-client.ts'
import { count, formatBytes } from '../render.ts'
import type { FoundManifest } from '../repository-client.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'
import { Progress } from './progress.ts'

/** Standard output, which a person may look at. */
export type Output = Writable & { readonly isTTY?: boolean }

export interface ExportCommand {
  readonly registry: RegistryClient
  readonly screen: Screen
  /** Where the outcome is said while the archive goes to standard output. */
  readonly notes: Screen
  readonly output: Output
  readonly reference: ImageReference
  /** A directory, not there yet or empty; a file that ends in `.tar`; or `-` for standard output. */
  readonly path: string
  /** The outcome as one JSON object. */
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Writes an image, all of it verified, as an OCI image layout: into a directory or a tar archive.
 *
 * @returns 0, or 1 when there is no such image
 * @throws `UNAVAILABLE` when no node answers, what the registry refuses something with, and
 *   `CONFIG_INVALID` when it cannot be written there
 */
export async function runExport(command: ExportCommand): Promise<ExitCode> {
  const { registry, reference, path, json, signal } = command
  const screen = path === '-' ? command.notes : command.screen
  const from = registry.repository(reference.repository, signal)
  const name = formatReference(reference)
  const root = await from.manifest(reference.kind === 'tag' ? reference.tag : reference.digest)
  if (root === undefined) {
    throw new StarlingError('MANIFEST_UNKNOWN', `${name} is not known: \`ls\` lists what is`)
  }
  const sink = await openSink(command, [describe(root, reference)])
  const progress = new Progress(json ? undefined : screen, name)
  try {
    const pulled = await pullImage(from, root, sink, bytes => progress.of(bytes))
    await sink.finish()
    progress.clear()
    const outcome = { reference: name, digest: root.digest, path, ...pulled }
    const what = `${count(outcome.blobs, 'blob')} (${formatBytes(outcome.bytes)})`
    const where = path === '-' ? 'has been written to standard output' : `is in ${path}`
    screen.write(`${json ? JSON.stringify(outcome) : `${name} ${where}, ${what}`}\n`)
    return EXIT.done
  } catch (error) {
    progress.clear()
    await sink.abandon()
    throw error
  }
}

async function openSink(
  { path, output }: ExportCommand,
  images: readonly LayoutImage[]
): Promise<ImageSink> {
  if (path === '-') {
    if (output.isTTY !== true) return writeArchive(output, images, 'standard output')
    throw new StarlingError('CONFIG_INVALID', 'standard output is a terminal: pipe it somewhere')
  }
  if (/\.(tgz|tar\.\w+)$/.test(path)) {
    const way = 'starling export REF - | gzip > FILE'
    throw new StarlingError('CONFIG_INVALID', `${path}: archives are written plain; ${way}`)
  }
  return path.endsWith('.tar') ? createArchive(path, images) : createLayout(path, images)
}

function describe({ digest, mediaType, bytes }: FoundManifest, name: ImageReference): LayoutImage {
  const annotations: Readonly<Record<string, string>> =
    name.kind === 'tag' ? { [FULL_NAME]: formatReference(name), [REF_NAME]: name.tag } : {}
  return { mediaType, digest, sizeBytes: bytes.length, annotations }
}
