import { Readable } from 'node:stream'
import type { Digest } from '../../digest.ts'
import { StarlingError } from '../../errors.ts'
import { isManifestType, parseManifest, type Reference } from '../../manifest.ts'
import { FULL_NAME, REF_NAME } from '../image-names.ts'
import type { ImageReference } from '../introspection.ts'
import { type LayoutImage, OciLayout } from '../oci-layout.ts'
import { formatReference } from '../reference.ts'
import type { FoundManifest, RegistryClient } from '../registry-client.ts'
import { count, formatBytes } from '../render.ts'
import { EXIT, type ExitCode, type Screen } from './outcome.ts'

export interface ExportCommand {
  readonly client: RegistryClient
  readonly screen: Screen
  readonly reference: ImageReference
  /** Not there yet, or empty. */
  readonly directory: string
  /** The outcome as one JSON object. */
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Writes an image, all of it verified, into a directory: an OCI image layout.
 *
 * @returns 0, or 1 when there is no such image
 * @throws `UNAVAILABLE` when no node answers, and what the registry refuses something with
 */
export async function runExport(command: ExportCommand): Promise<ExitCode> {
  const { client, screen, reference, directory, json, signal } = command
  const { repository } = reference
  const name = formatReference(reference)
  const asked = reference.kind === 'tag' ? reference.tag : reference.digest
  const root = await client.manifest(repository, asked, signal)
  if (root === undefined) {
    throw new StarlingError('MANIFEST_UNKNOWN', `${name} is not known`)
  }
  const layout = await OciLayout.create(directory)
  const pull = new Pull(client, layout, repository, signal)
  await pull.manifest(root)
  await layout.finish([describe(root, reference)])
  const outcome = { reference: name, digest: root.digest, path: directory, ...pull.done }
  const what = `${count(outcome.blobs, 'blob')} (${formatBytes(outcome.bytes)})`
  screen.write(`${json ? JSON.stringify(outcome) : `${name} is in ${directory}, ${what}`}\n`)
  return EXIT.done
}

function describe({ digest, mediaType, bytes }: FoundManifest, name: ImageReference): LayoutImage {
  const annotations: Readonly<Record<string, string>> =
    name.kind === 'tag' ? { [FULL_NAME]: formatReference(name), [REF_NAME]: name.tag } : {}
  return { mediaType, digest, sizeBytes: bytes.length, annotations }
}

/** One image on its way. */
class Pull {
  readonly done = { blobs: 0, bytes: 0 }
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

  async manifest({ digest, mediaType, bytes }: FoundManifest): Promise<void> {
    await this.#write(digest, Readable.from([bytes], { objectMode: false }))
    const { references } = parseManifest(bytes, mediaType, digest)
    for (const each of references) if (each.role !== 'subject') await this.#named(each)
  }

  /** What the image may lack, and does, is left out. */
  async #named({ role, mediaType, digest, absence }: Reference): Promise<void> {
    if ((await this.#layout.sizeOf(digest)) !== undefined) return
    if (role === 'child' && isManifestType(mediaType)) {
      const child = await this.#client.manifest(this.#repository, digest, this.#signal)
      if (child !== undefined) return this.manifest(child)
      if (absence !== undefined) return
      throw new StarlingError('MANIFEST_UNKNOWN', `${digest} is not known`)
    }
    if (absence !== undefined && !(await this.#isThere(digest))) return
    await this.#write(digest, await this.#client.blob(this.#repository, digest, this.#signal))
  }

  #isThere(digest: Digest): Promise<boolean> {
    return this.#client.hasBlob(this.#repository, digest, this.#signal)
  }

  async #write(digest: Digest, bytes: Readable): Promise<void> {
    this.done.bytes += await this.#layout.write(digest, bytes)
    this.done.blobs += 1
  }
}
