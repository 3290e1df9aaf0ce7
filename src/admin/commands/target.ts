import type { Command } from 'commander'
import { addDataSettings, loadDataDir } from '../../config.ts'
import { StarlingError } from '../../errors.ts'
import { type AdminClient, clientOfData, clientOfUrl } from '../client.ts'

/** Where a command finds its node: a data directory, or a URL. */
export interface TargetOptions extends Readonly<Record<string, unknown>> {
  readonly url?: string
}

/** Adds the flags of {@link TargetOptions} to a command. */
export function addTarget(command: Command): Command {
  return addDataSettings(command).option(
    '--url <url>',
    'admin address of a node, instead of --data'
  )
}

/** The node that was named. Throws `CONFIG_INVALID`. */
export async function openClient(options: TargetOptions): Promise<AdminClient> {
  if (options.url === undefined) return clientOfData(await loadDataDir(options))
  return clientOfUrl(parseUrl(options.url))
}

/** Throws `CONFIG_INVALID` for anything but the address of an HTTP server. */
export function parseUrl(text: string): URL {
  const url = URL.parse(text)
  if (url !== null && /^https?:$/.test(url.protocol)) return url
  throw new StarlingError('CONFIG_INVALID', '--url: expected http://host:port or https://host:port')
}
