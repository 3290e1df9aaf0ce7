import { StarlingError } from '../../errors.ts'
import type { AdminClient } from '../client.ts'
import { renderImages } from '../render.ts'
import type { ImageStatus } from '../status.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface LsCommand {
  readonly client: AdminClient
  readonly screen: Screen
  /** Only of this repository. */
  readonly repository: string | undefined
  /** One JSON object for each image, on a line. */
  readonly json: boolean
  readonly signal: AbortSignal
}

/** As many as a node gives at once. */
const PAGE = 1_000

/**
 * Lists every tag that a node knows.
 *
 * @throws `UNAVAILABLE` when there is no node, `NAME_UNKNOWN` when the repository has no tags
 */
export async function runLs(command: LsCommand): Promise<ExitCode> {
  const { client, screen, repository, json, signal } = command
  // Every tag sorts after the empty one, which does not exist.
  let after: { repository: string; tag: string } | undefined
  let isKnown = repository === undefined
  for (;;) {
    const page = { limit: PAGE, ...(after !== undefined && { after }) }
    const { images, holders } = await client.status(page, signal)
    const shown = images.filter(
      image => repository === undefined || image.repository === repository
    )
    isKnown ||= shown.length > 0
    if (shown.length > 0) screen.write(json ? lines(shown, holders) : renderImages(shown, holders))
    const last = images.at(-1)
    const isPast = repository !== undefined && last !== undefined && last.repository > repository
    if (last === undefined || images.length < PAGE || isPast) break
    after = { repository: last.repository, tag: last.tag }
  }
  if (isKnown) return EXIT.done
  throw new StarlingError('NAME_UNKNOWN', `no tag of ${repository} is known`)
}

function lines(images: readonly ImageStatus[], holders: number): string {
  return images.map(image => `${JSON.stringify({ ...image, holders })}\n`).join('')
}
