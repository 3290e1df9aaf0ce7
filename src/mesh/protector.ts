import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { AbortOptions, ConnectionProtector, MessageStream } from '@libp2p/interface'
import { type ByteStream, byteStream } from '@libp2p/utils'
import { StarlingError } from '../errors.ts'
import { type CipherKeys, CipherStream, type CountBytes } from './cipher-stream.ts'
import { type HandshakeFailure, REFUSAL, SLOW } from './refusals.ts'

export interface ProtectorOptions {
  /** Stretched secrets: the first to dial with, all to accept. Asked anew for each connection. */
  readonly keys: () => readonly Buffer[]
  /** Told of each connection that failed the handshake, but for those that only went away. */
  readonly onFailed: (connection: MessageStream, failure: HandshakeFailure) => void
  readonly timeoutMs?: number
  /** Told of all bytes after the handshake. */
  readonly onBytes?: CountBytes
}

/** Two round trips; a peer that needs longer is not one, or its network is of no use. */
export const HANDSHAKE_TIMEOUT_MS = 5_000

/** More than both sides ever send before the handshake is done. */
const MAX_BUFFERED_BYTES = 4_096

const PREAMBLE = Buffer.from('starling/1\n')
const NONCE_BYTES = 32
const PROOF_BYTES = 32

/**
 * Lets only holders of the cluster secret through, before any libp2p protocol speaks.
 *
 * ```
 * dialler   -> preamble, nonce D
 * listener  -> preamble, nonce L
 * dialler   -> HMAC(key, 'dialler' D L)     key: its first secret, stretched
 * listener  -> HMAC(key, 'listener' D L)    key: whichever accepted secret matched
 * both      -> AES-256-CTR with keys from HKDF(key, D L)
 * ```
 *
 * Why the bytes after it are enciphered although Noise follows: Noise proves who a peer is, not that
 * it is of this cluster. If the proof only opened the gate, a man in the middle could pass the two
 * proofs on and then speak Noise himself, as a member. With keys that come from the secret and both
 * nonces he can pass on only bytes that he can neither read nor make. Integrity, forward secrecy and
 * identity are the work of Noise inside; CTR needs to add none.
 */
export class Protector implements ConnectionProtector {
  readonly #options: ProtectorOptions

  constructor(options: ProtectorOptions) {
    this.#options = options
  }

  async protect(connection: MessageStream, options: AbortOptions = {}): Promise<MessageStream> {
    const limit = AbortSignal.timeout(this.#options.timeoutMs ?? HANDSHAKE_TIMEOUT_MS)
    const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit
    const bytes = byteStream(connection, { maxBufferSize: MAX_BUFFERED_BYTES })
    const progress: Progress = { at: 'the preamble' }
    try {
      const keys =
        connection.direction === 'outbound'
          ? await this.#dial(bytes, progress, signal)
          : await this.#accept(bytes, progress, signal)
      return new CipherStream(bytes.unwrap(), keys, this.#options.onBytes)
    } catch (error) {
      const kind = failureOf(error, connection, progress, limit)
      const at = progress.at
      if (kind !== 'left' && options.signal?.aborted !== true) {
        this.#options.onFailed(connection, { kind, at })
      }
      if (kind === 'refused') throw new StarlingError('PEER_REFUSED', REFUSAL, { cause: error })
      const words = kind === 'slow' ? SLOW : 'peer hung up during the handshake'
      throw new StarlingError('PEER_FAILED', words, { cause: error })
    }
  }

  async #dial(bytes: Bytes, progress: Progress, signal: AbortSignal): Promise<CipherKeys> {
    const [key] = this.#options.keys()
    if (key === undefined) throw new Error('no cluster secret')
    const mine = randomBytes(NONCE_BYTES)
    await bytes.write(Buffer.concat([PREAMBLE, mine]), { signal })
    const theirs = await readNonce(bytes, progress, signal)
    const nonces = Buffer.concat([mine, theirs])
    await bytes.write(prove(key, 'dialler', nonces), { signal })
    const proof = await readBytes(bytes, PROOF_BYTES, signal)
    if (!timingSafeEqual(proof, prove(key, 'listener', nonces)))
      throw new WrongAnswer('wrong proof')
    const { dialler, listener } = deriveKeys(key, nonces)
    return { send: dialler, receive: listener }
  }

  async #accept(bytes: Bytes, progress: Progress, signal: AbortSignal): Promise<CipherKeys> {
    const theirs = await readNonce(bytes, progress, signal)
    const mine = randomBytes(NONCE_BYTES)
    await bytes.write(Buffer.concat([PREAMBLE, mine]), { signal })
    const nonces = Buffer.concat([theirs, mine])
    const proof = await readBytes(bytes, PROOF_BYTES, signal)
    const key = this.#options
      .keys()
      .find(candidate => timingSafeEqual(proof, prove(candidate, 'dialler', nonces)))
    if (key === undefined) throw new WrongAnswer('wrong proof')
    await bytes.write(prove(key, 'listener', nonces), { signal })
    const { dialler, listener } = deriveKeys(key, nonces)
    return { send: listener, receive: dialler }
  }
}

type Bytes = ByteStream<MessageStream>

interface Progress {
  at: HandshakeFailure['at']
}

/** The peer answered, and not as a holder of the secret does. */
class WrongAnswer extends Error {}

/** Who is merely slow, or gone, is not to be taken for one with another secret. */
function failureOf(
  error: unknown,
  connection: MessageStream,
  { at }: Progress,
  limit: AbortSignal
): HandshakeFailure['kind'] | 'left' {
  const flooded = error instanceof Error && error.name === 'StreamBufferError'
  if (error instanceof WrongAnswer || flooded) return 'refused'
  if (limit.aborted) return 'slow'
  // A listener hangs up on a proof that it does not accept. A dialler that hangs up before it gave
  // one is a probe, or has waited for us for too long.
  return connection.direction === 'outbound' && at === 'the proof' ? 'refused' : 'left'
}

async function readNonce(bytes: Bytes, progress: Progress, signal: AbortSignal): Promise<Buffer> {
  const preamble = await readBytes(bytes, PREAMBLE.length, signal)
  if (!preamble.equals(PREAMBLE)) throw new WrongAnswer('wrong preamble')
  progress.at = 'the proof'
  return readBytes(bytes, NONCE_BYTES, signal)
}

async function readBytes(bytes: Bytes, count: number, signal: AbortSignal): Promise<Buffer> {
  const list = await bytes.read({ bytes: count, signal })
  return Buffer.from(list.subarray())
}

function prove(key: Buffer, role: 'dialler' | 'listener', nonces: Buffer): Buffer {
  return createHmac('sha256', key).update(`starling/1 ${role}\n`).update(nonces).digest()
}

function deriveKeys(key: Buffer, nonces: Buffer) {
  const derive = (role: string) =>
    Buffer.from(hkdfSync('sha256', key, nonces, `starling/1 ${role} stream`, 48))
  return { dialler: derive('dialler'), listener: derive('listener') }
}
