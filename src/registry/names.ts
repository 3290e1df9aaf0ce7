import { type Digest, parseDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'

/** The name of a repository (`team/app`): parsed, valid, and safe to keep in a record or a log. */
export type Repository = string & { readonly __brand: 'Repository' }

/** A tag: parsed and valid. It never has a colon, so it cannot be taken for a {@link Digest}. */
export type Tag = string & { readonly __brand: 'Tag' }

/** Many clients refuse host and name beyond 255 characters together; longer names could not be pulled. */
const MAX_REPOSITORY_LENGTH = 255

// OCI distribution-spec, "Pulling manifests": the grammars of <name> and <tag>. No part can start
// with "_" or be "..", so that "/v2/_catalog" and paths on disk are out of a name's reach.
const REPOSITORY =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

/** Reads a repository name, or gives `undefined` when it is malformed or too long. */
export function tryRepository(text: string): Repository | undefined {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text)
    ? (text as Repository)
    : undefined
}

/** Reads a repository name; throws `NAME_INVALID` when it is malformed or too long. */
export function parseRepository(text: string): Repository {
  const repository = tryRepository(text)
  if (repository === undefined) {
    throw new StarlingError(
      'NAME_INVALID',
      `a repository name is at most ${MAX_REPOSITORY_LENGTH} lower-case letters and digits, parted by "/", ".", "_", "__" or "-"`
    )
  }
  return repository
}

/** Reads a tag; throws `TAG_INVALID` when it is malformed or too long. */
export function parseTag(text: string): Tag {
  if (!TAG.test(text)) {
    throw new StarlingError(
      'TAG_INVALID',
      'a tag is at most 128 letters, digits, "_", "." and "-", and starts with none of the last two'
    )
  }
  return text as Tag
}

/**
 * Reads what a manifest is asked for by. Whatever has a colon is meant as a digest: throws
 * `DIGEST_INVALID` when it is not one we can verify, else `TAG_INVALID` when it is no tag.
 */
export function parseReference(text: string): Digest | Tag {
  return text.includes(':') ? parseDigest(text) : parseTag(text)
}

export function isDigest(reference: Digest | Tag): reference is Digest {
  return reference.includes(':')
}
