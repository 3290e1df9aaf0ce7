import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import { declaredLength } from './body.ts'
import { type Deputy, forwardedOf, short } from './deputy.ts'
import type { Repository } from './names.ts'
import { originForm } from './path.ts'
import { clientSignal, type RouteContext } from './routes.ts'
import type { Forwarded } from './upload-homes.ts'

/** Deputies for pushes that this node has no room for, though the cluster has. */
export interface PushDeputy extends Deputy {
  /**
   * Whether another node should take a push.
   *
   * @param bytes as many as it has, where that is known
   */
  isBetter(bytes: number | undefined): boolean
}

/**
 * Has another node answer a request that begins an upload, or brings a manifest, where that has more
 * room for it. The answer says where an upload is, and what follows finds its way by that.
 *
 * @returns `undefined` when it should be answered here
 */
export async function answerElsewhere(
  request: FastifyRequest,
  reply: FastifyReply,
  context: RouteContext
): Promise<FastifyReply | undefined> {
  const { pushDeputy, isRelayed } = context
  if (pushDeputy === undefined || isRelayed(request)) return undefined
  if (!pushDeputy.isBetter(bodyBytes(request))) return undefined
  const forwarded = forwardedOf(request, reply, context, originForm(request.originalUrl))
  return answerBy(pushDeputy, forwarded, request, reply)
}

/**
 * Has another node take a whole blob, which came for an upload that has no bytes yet and turns out
 * to be too long for this node.
 *
 * @returns `undefined` when it should be taken here
 */
export async function pushElsewhere(
  request: FastifyRequest,
  reply: FastifyReply,
  context: RouteContext,
  blob: { readonly repository: Repository; readonly digest: Digest }
): Promise<FastifyReply | undefined> {
  const { pushDeputy, isRelayed } = context
  const bytes = bodyBytes(request)
  if (pushDeputy === undefined || bytes === undefined || isRelayed(request)) return undefined
  if (!pushDeputy.isBetter(bytes)) return undefined
  const query = new URLSearchParams({ digest: blob.digest })
  const path = `/v2/${blob.repository}/blobs/uploads/?${query}`
  const forwarded = { ...forwardedOf(request, reply, context, path), method: 'POST' }
  return answerBy(pushDeputy, forwarded, request, reply)
}

/** Here may be little room, which is more than there is on a node that cannot be reached. */
async function answerBy(
  deputy: Deputy,
  forwarded: Forwarded,
  request: FastifyRequest,
  reply: FastifyReply
): Promise<FastifyReply | undefined> {
  const { body } = forwarded
  let isBegun = false
  const begin =
    body &&
    (() => {
      isBegun = true
      return body()
    })
  try {
    const answer = await deputy.answer({ ...forwarded, body: begin }, clientSignal(reply))
    return await short(request, reply, answer)
  } catch (error) {
    if (isBegun || !isCode(error, 'UNAVAILABLE')) throw error
    return undefined
  }
}

function bodyBytes(request: FastifyRequest): number | undefined {
  const bytes = declaredLength(request.raw)
  return bytes > 0 ? bytes : undefined
}
