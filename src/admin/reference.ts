import { tryDigest } from '../digest.ts'
import type { ImageReference } from './introspection.ts'

/** What a reference looks like, for people who wrote another. */
export const REFERENCE_FORMAT = 'repository:tag or repository@digest, the repository in lower case'

// OCI distribution specification, "Pulling manifests": the grammars of names and tags.
const NAME = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const NAME_LENGTH = 255

/** Reads `repository:tag` or `repository@digest`; `undefined` when the text is neither. */
export function parseReference(text: string): ImageReference | undefined {
  const [, repository = '', mark, rest = ''] = /^([^:@]+)([:@])(.+)$/.exec(text) ?? []
  if (repository.length > NAME_LENGTH || !NAME.test(repository)) return undefined
  if (mark === ':') return TAG.test(rest) ? { kind: 'tag', repository, tag: rest } : undefined
  const digest = tryDigest(rest)
  return digest && { kind: 'digest', repository, digest }
}

export function formatReference(reference: ImageReference): string {
  return reference.kind === 'tag'
    ? `${reference.repository}:${reference.tag}`
    : `${reference.repository}@${reference.digest}`
}
