import type { FastifyReply } from 'fastify'
import type { Digest } from '../digest.ts'
import type { UploadSession } from './content.ts'
import type { Repository } from './names.ts'
import { formatUploadId } from './upload-id.ts'

/** An upload that its client may go on with; `here` is how other nodes find this one, if any are. */
export interface OpenUpload {
  readonly repository: Repository
  readonly session: UploadSession
  readonly here: string | undefined
}

/**
 * Sets the headers that say where an upload goes on. The legacy docker client reads `Range` as
 * "%d-%d" and fails without it; an empty session is said to have 0-0, as every registry does.
 * Locations are relative, so that they hold behind any proxy.
 */
export function describeUpload(
  reply: FastifyReply,
  { repository, session, here }: OpenUpload
): FastifyReply {
  const id = formatUploadId({ local: session.id, home: here })
  return reply.headers({
    location: `/v2/${repository}/blobs/uploads/${id}`,
    range: `0-${Math.max(0, session.offset - 1)}`,
    'docker-upload-uuid': id
  })
}

/** The upload goes on: 202. */
export function acceptUpload(reply: FastifyReply, upload: OpenUpload): FastifyReply {
  return describeUpload(reply, upload).code(202).send()
}

/** The blob is there: 201. */
export function answerCreated(
  reply: FastifyReply,
  repository: Repository,
  digest: Digest
): FastifyReply {
  return reply
    .headers({
      location: `/v2/${repository}/blobs/${digest}`,
      'docker-content-digest': digest
    })
    .code(201)
    .send()
}
