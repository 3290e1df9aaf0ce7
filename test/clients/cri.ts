import { once } from 'node:events'
import * as http2 from 'node:http2'
import { connect } from 'node:net'
import type { Login } from './logins.ts'

/** Two busy cores unpack the test image in a few seconds. */
const CALL_TIMEOUT_MS = 120_000
/** Every gRPC message has one flag byte and four bytes of length before it. */
const FRAME_HEADER_BYTES = 5

/**
 * The calls by which kubelet manages images, over the container runtime's socket. Unlike `ctr`,
 * they follow the registry settings of the runtime's CRI plugin. All of them take an image name as
 * their only field that matters, so the messages are written here by hand.
 *
 * @see https://github.com/kubernetes/cri-api/blob/master/pkg/apis/runtime/v1/api.proto
 */
export class ImageService {
  readonly #socketPath: string

  constructor(socketPath: string) {
    this.#socketPath = socketPath
  }

  /**
   * Pulls an image as kubelet does, and gives the id that the runtime knows it by.
   *
   * @param login what a pull secret has for the registry
   */
  async pull(image: string, login?: Login): Promise<string> {
    // PullImageRequest has an AuthConfig as field 2, whose fields 1 and 2 are the name and the password.
    const auth =
      login &&
      wrap(Buffer.concat([wrap(login.user), wrap(login.password, FIELD_2_BYTE)]), FIELD_2_BYTE)
    // PullImageResponse has one field, image_ref: a string with tag 1.
    return field(await this.#call('PullImage', image, auth))?.toString() ?? ''
  }

  async remove(image: string): Promise<void> {
    await this.#call('RemoveImage', image)
  }

  /** Whether the runtime has the image. */
  async has(image: string): Promise<boolean> {
    return field(await this.#call('ImageStatus', image)) !== undefined
  }

  async #call(method: string, image: string, more: Uint8Array = Buffer.alloc(0)): Promise<Buffer> {
    const session = http2.connect('http://localhost', {
      createConnection: () => connect(this.#socketPath)
    })
    try {
      // All three requests begin with an ImageSpec as field 1, whose field 1 is the name.
      const message = Buffer.concat([wrap(wrap(image)), more])
      return await call(session, `/runtime.v1.ImageService/${method}`, message)
    } finally {
      session.destroy()
    }
  }
}

async function call(
  session: http2.ClientHttp2Session,
  path: string,
  message: Buffer
): Promise<Buffer> {
  const signal = AbortSignal.timeout(CALL_TIMEOUT_MS)
  const broken = once(session, 'error', { signal }).then(([error]) => Promise.reject(error))
  const stream = session.request(
    { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
    { signal }
  )
  let trailers: http2.IncomingHttpHeaders = {}
  // A call that fails before it answers has its status in the headers, any other in the trailers.
  for (const event of ['response', 'trailers'] as const) {
    stream.on(event, (headers: http2.IncomingHttpHeaders) => {
      trailers = { ...trailers, ...headers }
    })
  }
  const header = Buffer.alloc(FRAME_HEADER_BYTES)
  header.writeUInt32BE(message.length, 1)
  stream.end(Buffer.concat([header, message]))
  const body = await Promise.race([broken, stream.toArray()])
  if (trailers['grpc-status'] !== '0') {
    const reason = decodeURIComponent(String(trailers['grpc-message'] ?? 'no answer'))
    throw new Error(`${path}: gRPC status ${trailers['grpc-status']}: ${reason}`)
  }
  return Buffer.concat(body as Buffer[]).subarray(FRAME_HEADER_BYTES)
}

/** A protobuf message with one field, the first if not said otherwise, that holds these bytes. */
function wrap(content: string | Buffer, fieldByte = FIELD_1_BYTE): Buffer {
  const bytes = Buffer.from(content)
  const length: number[] = []
  for (let rest = bytes.length; ; rest >>>= 7) {
    length.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80)
    if (rest < 0x80) break
  }
  return Buffer.concat([Buffer.from([fieldByte, ...length]), bytes])
}

const FIELD_1_BYTE = (1 << 3) | 2
const FIELD_2_BYTE = (2 << 3) | 2

/** Field 1 of a protobuf message that begins with it; `undefined` when it does not. */
function field(message: Buffer): Buffer | undefined {
  if (message[0] !== FIELD_1_BYTE) return undefined
  let length = 0
  for (let index = 1; ; index++) {
    const byte = message[index]
    if (byte === undefined) return undefined
    length |= (byte & 0x7f) << (7 * (index - 1))
    if (byte < 0x80) return message.subarray(index + 1, index + 1 + length)
  }
}
