import { StarlingError } from '../errors.ts'
import type { LayoutImage } from './image-source.ts'
import type { ImageReference } from './introspection.ts'
import { parseReference } from './reference.ts'

/** Where containerd and docker write the whole name, with the registry in front. */
export const FULL_NAME = 'io.containerd.image.name'

/** OCI image-spec, "Pre-Defined Annotation Keys": a tag, or with some tools the whole name. */
export const REF_NAME = 'org.opencontainers.image.ref.name'

/**
 * Under which names images of a layout are pushed: those that the layout gives, or what the user
 * says: a whole name for a single image, or a repository for all, whose tags the layout gives.
 *
 * @throws `CONFIG_INVALID` when there is no name for an image
 */
export function nameImages(
  images: readonly LayoutImage[],
  as: string | undefined
): readonly ImageReference[] {
  const whole = as === undefined ? undefined : parseReference(as)
  if (whole !== undefined && images.length === 1) return [whole]
  if (whole !== undefined) {
    throw invalid(`--as ${as}: there are ${images.length} images, so give a repository alone`)
  }
  const names = images.map(image => (as === undefined ? ownName(image) : nameIn(as, image)))
  const nameless = names.filter(name => name === undefined).length
  if (nameless === 0) return names.filter(name => name !== undefined)
  throw as === undefined
    ? invalid(`${nameless} of ${images.length} images have no name: give one with --as`)
    : invalid(`--as ${as}: expected repository or repository:tag, the repository in lower case`)
}

function ownName({ annotations }: LayoutImage): ImageReference | undefined {
  for (const key of [FULL_NAME, REF_NAME]) {
    const name = parseReference(annotations[key] ?? '')
    if (name !== undefined) return name
  }
  return undefined
}

/** By its digest alone when the layout gives no tag. */
function nameIn(repository: string, { digest, annotations }: LayoutImage) {
  const tag = annotations[REF_NAME]?.split(':').at(-1)
  const tagged = tag === undefined ? undefined : parseReference(`${repository}:${tag}`)
  return tagged ?? parseReference(`${repository}@${digest}`)
}

function invalid(message: string): StarlingError {
  return new StarlingError('CONFIG_INVALID', message)
}
