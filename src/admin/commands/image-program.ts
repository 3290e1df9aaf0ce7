import type { Command } from 'commander'
import { addDataSettings, loadDataDir } from '../../config.ts'
import { StarlingError } from '../../errors.ts'
import { parseReference, REFERENCE_FORMAT } from '../reference.ts'
import { RegistryClient } from '../registry-client.ts'
import { runExport } from './export.ts'
import { runImport } from './import.ts'
import type { AdminCommands } from './program.ts'
import { parseUrl, type TargetOptions } from './target.ts'

/** Adds the commands that bring images into the cluster and out of it without another tool. */
export function addImageCommands(program: Command, commands: AdminCommands): void {
  const { screen, pipes, signal, ended } = commands
  addRegistry(program.command('import').description('push the images of a directory or an archive'))
    .argument(
      '<path>',
      `${LAYOUT}, or a tar archive of one or of docker save, plain or with gzip or zstd: a file, its http(s) URL, or - for standard input`
    )
    .option('--as <name>', 'repository:tag for a single image, or a repository for all')
    .option('--json', 'as JSON, an image on a line', false)
    .action(async (path: string, options: ImportOptions) => {
      const registry = await openRegistry(options)
      const { as, json } = options
      const { input } = pipes
      ended(await runImport({ registry, screen, signal, path, input, as, json }))
    })
  addRegistry(
    program.command('export').description('write an image into a directory or an archive')
  )
    .argument('<ref>', REFERENCE_FORMAT)
    .argument('<path>', `${LAYOUT}, not there yet or empty; a .tar file; or - for standard output`)
    .option('--json', 'the outcome as JSON', false)
    .action(async (ref: string, path: string, { json, ...options }: ImageOptions) => {
      const reference = parseReference(ref)
      if (reference === undefined) {
        const message = `ref: expected ${REFERENCE_FORMAT}; got ${JSON.stringify(ref)}`
        throw new StarlingError('CONFIG_INVALID', message)
      }
      const registry = await openRegistry(options)
      ended(await runExport({ registry, screen, ...pipes, signal, reference, path, json }))
    })
}

const LAYOUT = 'an OCI layout directory'

interface ImageOptions extends TargetOptions {
  readonly json: boolean
}

interface ImportOptions extends ImageOptions {
  readonly as?: string
}

function addRegistry(command: Command): Command {
  return addDataSettings(command).option(
    '--url <url>',
    'registry address of a node (http://user:password@host:port), instead of --data'
  )
}

async function openRegistry({ url, ...options }: TargetOptions): Promise<RegistryClient> {
  if (url !== undefined) return RegistryClient.ofUrl(parseUrl(url))
  return RegistryClient.ofData(await loadDataDir(options))
}
