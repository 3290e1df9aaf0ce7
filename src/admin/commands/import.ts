import { stat } from 'node:fs/promises'
import { type Input, openArchiveBytes } from '../archive/archive-bytes.ts'
import { takeIn } from '../archive/intake.ts'
import { nameImages } from '../image-names.ts'
import { type Pushed, pushImage } from '../image-push.ts'
import type { ImageSource } from '../image-source.ts'
import { openLayout } from '../layout-directory.ts'
import { formatReference } from '../reference.ts'
import type { RegistryClient } from '../registry-client.ts'
import { count, formatBytes } from '../render.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'
import { Progress } from './progress.ts'

export interface ImportCommand {
  readonly registry: RegistryClient
  readonly screen: Screen
  /** An OCI image layout directory, an archive, its URL, or `-` for one on standard input. */
  readonly path: string
  readonly input: () => Input
  /** The name of its only image, or the repository of all. */
  readonly as?: string | undefined
  /** One JSON object for each image, on a line. */
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Pushes the images of a directory or an archive to a node, which copies them to the others.
 *
 * @returns 0 when all are stored; what too few nodes could take yet is said
 * @throws `UNAVAILABLE` when no node answers, what the registry refuses an image with, and what is
 *   wrong with the archive
 */
export async function runImport(command: ImportCommand): Promise<ExitCode> {
  const { registry, screen, json, signal, as } = command
  const { source, progress } = await openSource(command)
  const names = nameImages(source.images, as)
  for (const [index, image] of source.images.entries()) {
    const name = names[index]
    if (name === undefined) continue
    const to = registry.repository(name.repository, signal)
    const pushed = await pushImage(source, image, to, name.kind === 'tag' ? name.tag : image.digest)
    progress.clear()
    const outcome = { reference: formatReference(name), digest: image.digest, ...pushed }
    screen.write(`${json ? JSON.stringify(outcome) : render(outcome)}\n`)
  }
  return EXIT.done
}

async function openSource(
  command: ImportCommand
): Promise<{ readonly source: ImageSource; readonly progress: Progress }> {
  const { registry, path, input, as, json, signal } = command
  const screen = json ? undefined : command.screen
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) {
    const progress = new Progress(screen, 'sent')
    return { source: await openLayout(path, bytes => progress.of(bytes)), progress }
  }
  const { where, sizeBytes, bytes } = await openArchiveBytes(path, input, signal)
  const progress = new Progress(screen, where, sizeBytes)
  const source = await takeIn(progress.of(bytes), { registry, where, as, signal }).finally(() =>
    progress.clear()
  )
  return { source, progress }
}

function render({
  reference,
  sent,
  warnings
}: Pushed & {
  readonly reference: string
}): string {
  const what = `${count(sent.blobs, 'blob')} (${formatBytes(sent.bytes)}) sent`
  return [`${reference} imported, ${what}`, ...warnings.map(text => `  warning: ${text}`)].join(
    '\n'
  )
}
