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
export function addImageCommands(program: Command, { screen, signal, ended }: AdminCommands): void {
  addRegistry(program.command('import').description('push the images of an OCI layout directory'))
    .argument('<path>', 'the directory; an archive is to be unpacked first')
    .option('--as <name>', 'repository:tag for a single image, or a repository for all')
    .option('--json', 'as JSON, an image on a line', false)
    .action(async (directory: string, options: ImportOptions) => {
      const client = await openRegistry(options)
      const { as, json } = options
      ended(await runImport({ client, screen, signal, directory, as, json }))
    })
  addRegistry(program.command('export').description('write an image into an OCI layout directory'))
    .argument('<ref>', REFERENCE_FORMAT)
    .argument('<path>', 'a directory that is not there yet, or empty')
    .option('--json', 'the outcome as JSON', false)
    .action(async (ref: string, directory: string, options: ImageOptions) => {
      const reference = parseReference(ref)
      if (reference === undefined) {
        const message = `ref: expected ${REFERENCE_FORMAT}; got ${JSON.stringify(ref)}`
        throw new StarlingError('CONFIG_INVALID', message)
      }
      const client = await openRegistry(options)
      ended(await runExport({ client, screen, signal, reference, directory, json: options.json }))
    })
}

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
