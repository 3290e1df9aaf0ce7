import { createHash, type Hash } from 'node:crypto'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import * as multihash from 'multiformats/hashes/digest'
import { StarlingError } from './errors.ts'

/**
 * The name of some bytes: `algorithm:hex`, parsed and valid.
 *
 * @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
 */
export type Digest = string & { readonly __brand: 'Digest' }

export type Algorithm = 'sha256' | 'sha512'

const ALGORITHMS = {
  sha256: { hexLength: 64, multihashCode: 0x12 },
  sha512: { hexLength: 128, multihashCode: 0x13 }
} as const

const DIGEST = /^(sha256):([0-9a-f]{64})$|^(sha512):([0-9a-f]{128})$/

/** Reads a digest, or gives `undefined` when the text is not one we can verify. */
export function tryDigest(text: string): Digest | undefined {
  return DIGEST.test(text) ? (text as Digest) : undefined
}

/** Reads a digest; throws `DIGEST_INVALID` when the text is not one we can verify. */
export function parseDigest(text: string): Digest {
  const digest = tryDigest(text)
  if (digest === undefined) {
    throw new StarlingError(
      'DIGEST_INVALID',
      'a digest is "sha256:" and 64, or "sha512:" and 128, lower-case hexadecimal digits'
    )
  }
  return digest
}

export function algorithmOf(digest: Digest): Algorithm {
  return digest.slice(0, 6) as Algorithm
}

export function hexOf(digest: Digest): string {
  return digest.slice(7)
}

/** A running hash; end it with {@link finishDigest}. */
export function startDigest(algorithm: Algorithm): Hash {
  return createHash(algorithm)
}

export function finishDigest(algorithm: Algorithm, hash: Hash): Digest {
  return `${algorithm}:${hash.digest('hex')}` as Digest
}

export function digestOf(bytes: Uint8Array, algorithm: Algorithm = 'sha256'): Digest {
  return finishDigest(algorithm, startDigest(algorithm).update(bytes))
}

/** The digest as a CIDv1 with the raw codec, the form that gossip and people see. */
export function toCid(digest: Digest): CID {
  const { multihashCode } = ALGORITHMS[algorithmOf(digest)]
  return CID.createV1(raw.code, multihash.create(multihashCode, Buffer.from(hexOf(digest), 'hex')))
}

/** The reverse of {@link toCid}; `undefined` when the CID is of another codec or hash. */
export function fromCid(cid: CID): Digest | undefined {
  if (cid.version !== 1 || cid.code !== raw.code) return undefined
  const hex = Buffer.from(cid.multihash.digest).toString('hex')
  for (const [algorithm, { multihashCode }] of Object.entries(ALGORITHMS)) {
    if (cid.multihash.code === multihashCode) return tryDigest(`${algorithm}:${hex}`)
  }
  return undefined
}
