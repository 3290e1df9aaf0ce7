import { createHash } from 'node:crypto'
import { type Digest, tryDigest } from '../../digest.ts'

/**
 * What names a blob between schedulers: its digest; or, while its push streams in, the node that
 * takes the push and the id of the upload, since no digest is known or can be relied on by then.
 */
export type Key =
  | { readonly kind: 'blob'; readonly digest: Digest }
  | { readonly kind: 'upload'; readonly origin: string; readonly id: string }

/** `u:`, a peer id in its usual base 58 (or any short word), and a UUID. */
const UPLOAD = /^u:([A-Za-z0-9-]{1,100}):([0-9a-f-]{1,36})$/

export function uploadKey(origin: string, id: string): string {
  return `u:${origin}:${id}`
}

/** Reads a key; `undefined` when the text is none. */
export function tryKey(text: string): Key | undefined {
  const digest = tryDigest(text)
  if (digest !== undefined) return { kind: 'blob', digest }
  const [, origin, id] = UPLOAD.exec(text) ?? []
  return origin === undefined || id === undefined ? undefined : { kind: 'upload', origin, id }
}

/** Of the files of pieces of uploads elsewhere, which are of no use after a restart. */
export const PROVISIONAL_PREFIX = 'provisional-'

/** The name of the file of pieces of a blob: lower-case letters, digits and hyphens. */
export function fileNameOf(key: string): string {
  const parsed = tryKey(key)
  if (parsed?.kind === 'blob') return parsed.digest.replace(':', '-')
  return PROVISIONAL_PREFIX + createHash('sha256').update(key).digest('hex')
}
