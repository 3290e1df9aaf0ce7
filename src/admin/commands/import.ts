import { buffer } from 'node:stream/consumers'
import type { Digest } from '../../digest.ts'
import { StarlingError } from '../../errors.ts'
import {
  isManifestType,
  MAX_MANIFEST_BYTES,
  parseManifest,
  type Reference
} from '../../manifest.ts'
import { nameImages } from '../image-names.ts'
import { OciLayout } from '../oci-layout.ts'
import { formatReference } from '../reference.ts'
import type { RegistryClient } from '../registry-client.ts'
import { count, formatBytes } from '../render.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface ImportCommand {
  readonly client: RegistryClient
  readonly screen: Screen
  /** An OCI image layout. */
  readonly directory: string
  /** The name of its only image, or the repository of all. */
  readonly as?: string | undefined
  /** One JSON object for each image, on a line. */
  readonly json: boolean
  readonly signal: AbortSignal
}

/** What was sent for one image. */
interface Sent {
  blobs: number
  bytes: number
}

/**
 * Pushes the images of a directory to a node, which copies them to the others.
 *
 * @returns 0 when all are stored; what too few nodes could take yet is said
 * @throws `UNAVAILABLE` when no node answers, and what the registry refuses an image with
 */
export async function runImport(command: ImportCommand): Promise<ExitCode> {
  const { client, screen, json, signal } = command
  const layout = await OciLayout.open(command.directory)
  const images = await layout.images()
  const names = nameImages(images, command.as)
  for (const [index, { digest, mediaType }] of images.entries()) {
    const name = names[index]
    if (name === undefined) continue
    const push = new Push(client, layout, name.repository, signal)
    const warnings = await push.manifest(digest, mediaType, name.kind === 'tag' ? name.tag : digest)
    const reference = formatReference(name)
    const outcome = { reference, digest, sent: push.sent, warnings }
    screen.write(`${json ? JSON.stringify(outcome) : render(outcome)}\n`)
  }
  return EXIT.done
}

function render(outcome: {
  readonly reference: string
  readonly sent: Sent
  readonly warnings: readonly string[]
}): string {
  const { reference, sent, warnings } = outcome
  const what = `${count(sent.blobs, 'blob')} (${formatBytes(sent.bytes)}) sent`
  return [`${reference} imported, ${what}`, ...warnings.map(text => `  warning: ${text}`)].join(
    '\n'
  )
}

/** One image on its way, children before parents. */
class Push {
  readonly sent: Sent = { blobs: 0, bytes: 0 }
  readonly #client: RegistryClient
  readonly #layout: OciLayout
  readonly #repository: string
  readonly #signal: AbortSignal

  constructor(client: RegistryClient, layout: OciLayout, repository: string, signal: AbortSignal) {
    this.#client = client
    this.#layout = layout
    this.#repository = repository
    this.#signal = signal
  }

  async manifest(digest: Digest, mediaType: string, reference: string): Promise<readonly string[]> {
    if (((await this.#layout.sizeOf(digest)) ?? 0) > MAX_MANIFEST_BYTES) {
      throw new StarlingError('MANIFEST_INVALID', `${digest} is too long for a manifest`)
    }
    const bytes = await buffer(this.#layout.read(digest))
    for (const each of parseManifest(bytes, mediaType, digest).references) await this.#named(each)
    const manifest = { mediaType, bytes }
    return this.#client.pushManifest(this.#repository, reference, manifest, this.#signal)
  }

  async #named({ role, mediaType, digest, absence }: Reference): Promise<void> {
    const sizeBytes = await this.#layout.sizeOf(digest)
    if (sizeBytes === undefined) {
      // What may be left out is; of the rest the registry may have it already, and says if not.
      if (absence !== undefined || (await this.#isThere(digest))) return
      throw new StarlingError('BLOB_UNKNOWN', `${this.#layout.directory} lacks ${digest}`)
    }
    if ((role === 'child' || role === 'subject') && isManifestType(mediaType)) {
      await this.manifest(digest, mediaType, digest)
    } else if (!(await this.#isThere(digest))) {
      const body = this.#layout.read(digest)
      await this.#client.pushBlob(this.#repository, { digest, sizeBytes, body }, this.#signal)
      this.sent.blobs += 1
      this.sent.bytes += sizeBytes
    }
  }

  #isThere(digest: Digest): Promise<boolean> {
    return this.#client.hasBlob(this.#repository, digest, this.#signal)
  }
}
