import type { FastifyReply } from 'fastify'

/** OCI distribution-spec, "Warnings": all of them together. Clients print them to their users. */
const MAX_WARNING_BYTES = 4096

/** Sets the `Warning` headers for some sentences, if there are any. */
export function withWarnings(reply: FastifyReply, texts: readonly string[]): FastifyReply {
  return texts.length === 0 ? reply : reply.header('warning', warningHeaders(texts))
}

/** The values of the headers: code 299, no agent, no date. */
function warningHeaders(texts: readonly string[]): string[] {
  const headers: string[] = []
  let roomBytes = MAX_WARNING_BYTES
  for (const text of texts) {
    const header = `299 - "${quotable(text)}"`
    roomBytes -= header.length
    if (roomBytes < 0) break
    headers.push(header)
  }
  return headers
}

/** What a quoted string may hold: visible ASCII and spaces, with quotes and backslashes escaped. */
function quotable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')
}
