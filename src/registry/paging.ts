import type { FastifyReply, FastifyRequest } from 'fastify'
import { StarlingError } from '../errors.ts'
import type { Page } from './content.ts'
import { queryText } from './routes.ts'

/** The most names in one answer, whatever `n` asks for (CVE-2023-2253); a Link leads to the rest. */
export const MAX_PAGE = 1_000

/**
 * Reads `n` and `last`, asks for one name more than will be shown, and links to the next page when
 * there is one.
 *
 * @see OCI distribution-spec, "Listing tags": `n=0` is an empty list without a Link
 * @returns `undefined` when there is no list
 * @throws `PAGINATION_NUMBER_INVALID`
 */
export async function pageOf(
  request: FastifyRequest,
  reply: FastifyReply,
  path: string,
  list: (page: Page) => Promise<readonly string[] | undefined>
): Promise<readonly string[] | undefined> {
  const limit = parseLimit(queryText(request, 'n'))
  const after = queryText(request, 'last')
  const names = await list({ limit: limit + 1, ...(after === undefined ? {} : { after }) })
  const shown = names?.slice(0, limit)
  const last = shown?.at(-1)
  if (names !== undefined && names.length > limit && last !== undefined) {
    const query = new URLSearchParams({ n: String(limit), last })
    reply.header('link', `<${path}?${query}>; rel="next"`)
  }
  return shown
}

/** Reads `n`; throws `PAGINATION_NUMBER_INVALID`. */
export function parseLimit(text: string | undefined): number {
  if (text === undefined) return MAX_PAGE
  if (!/^\d+$/.test(text)) {
    throw new StarlingError('PAGINATION_NUMBER_INVALID', 'n is a whole number from 0')
  }
  return Math.min(Number(text), MAX_PAGE)
}
