import { StarlingError } from '../errors.ts'
import { RETRY_HEADER } from './piece-desk.ts'

/** The head of an answer to a request for a piece. */
export interface Reply {
  readonly status: number
  readonly lengthBytes: number
  readonly retryMs: number | undefined
  /** Whether the connection carries another request after this one. */
  readonly isLast: boolean
}

/** Our own server needs a tenth of it. */
export const MAX_HEAD_BYTES = 4_096

const STATUS = /^HTTP\/1\.1 (\d{3})(?: .*)?$/

/** Reads a head, up to its empty line. Throws `PEER_FAILED` when it is not as our server writes one. */
export function readReply(head: string): Reply {
  const [first = '', ...lines] = head.split('\r\n')
  const status = Number(STATUS.exec(first)?.[1])
  const fields = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
  }
  const lengthBytes = wholeNumber(fields.get('content-length'))
  // An interim answer has none either; we ask for nothing that could bring one.
  if (Number.isNaN(status) || lengthBytes === undefined || fields.has('transfer-encoding')) {
    throw new StarlingError('PEER_FAILED', 'the peer does not answer as it should')
  }
  const retryMs = wholeNumber(fields.get(RETRY_HEADER))
  return { status, lengthBytes, retryMs, isLast: fields.get('connection') === 'close' }
}

/** Only digits, and few enough that the number is exact. */
function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
