import type { FastifyRequest } from 'fastify'
import type { Digest } from '../digest.ts'

/** A digest names the same bytes for ever, which makes it a strong validator. */
export function etagOf(digest: Digest): string {
  return `"${digest}"`
}

/** Whether the client has these bytes already, by its `If-None-Match` (RFC 9110, section 13.1.2). */
export function isUnmodified(request: FastifyRequest, digest: Digest): boolean {
  const header = request.headers['if-none-match']
  if (header === undefined) return false
  return header.split(',').some(each => {
    const tag = each.trim().replace(/^W\//, '')
    return tag === '*' || tag === etagOf(digest)
  })
}
