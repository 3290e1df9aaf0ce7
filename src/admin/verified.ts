import { algorithmOf, type Digest, finishDigest, startDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'

/** The bytes of a blob as they come; at their end throws `DIGEST_INVALID` unless they are it. */
export async function* verified(
  digest: Digest,
  bytes: AsyncIterable<Buffer>
): AsyncGenerator<Buffer, void> {
  const hash = startDigest(algorithmOf(digest))
  for await (const chunk of bytes) {
    hash.update(chunk)
    yield chunk
  }
  const came = finishDigest(algorithmOf(digest), hash)
  if (came !== digest) throw new StarlingError('DIGEST_INVALID', `${digest} came as ${came}`)
}
