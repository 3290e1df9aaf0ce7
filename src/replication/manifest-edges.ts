import type { Digest } from '../digest.ts'
import { isManifestType, type ManifestFields, parseStoredManifest } from '../manifest.ts'
import type { Graph, GraphReference } from './graph.ts'

/**
 * Adds to the graph what a stored manifest names, and whom it refers to. Throws `MANIFEST_INVALID`
 * for bytes that are no manifest of this media type; then nothing is added.
 */
export function addToGraph(graph: Graph, manifest: Digest, mediaType: string, bytes: Buffer): void {
  const fields = parseStoredManifest(bytes, mediaType)
  graph.addManifest(manifest, referencesOf(fields))
  if (fields.subject === undefined) return
  const { artifactType, annotations } = fields
  graph.addReferrer(fields.subject, {
    ...{ digest: manifest, mediaType, sizeBytes: bytes.length, artifactType },
    annotations: isLarge(annotations) ? 'large' : annotations
  })
}

/**
 * What a manifest needs to be whole: all it names but its subject, which may be absent (OCI
 * distribution, "Pushing Manifests with Subject"), and layers that may not be distributed.
 */
function referencesOf({ references }: ManifestFields): GraphReference[] {
  return references.flatMap((reference, position) => {
    if (reference.absence !== undefined && reference.absence !== 'sparse') return []
    const { digest, sizeBytes, mediaType, absence } = reference
    const manifestType = isManifestType(mediaType) ? mediaType : undefined
    return [{ digest, sizeBytes, manifestType, sparse: absence === 'sparse', position }]
  })
}

/** Annotations of referrers are listed often and kept in memory, which their pushers must not fill. */
const MAX_KEPT_ANNOTATIONS_LENGTH = 4 * 1024

function isLarge(annotations: ManifestFields['annotations']): boolean {
  let length = 0
  for (const [key, value] of Object.entries(annotations ?? {})) length += key.length + value.length
  return length > MAX_KEPT_ANNOTATIONS_LENGTH
}
