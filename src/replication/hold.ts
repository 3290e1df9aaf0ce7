import { setTimeout as delay } from 'node:timers/promises'
import { decode, encode } from 'cborg'
import { withDeadline } from '../deadline.ts'
import type { Digest } from '../digest.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Inventory } from './inventory.ts'
import { decodeHave, encodeHave } from './wire.ts'

/** Answers once the whole image is held, or when the time is over. */
const HOLD_PROTOCOL = 'hold/1'
const MAX_HOLD_BYTES = 1024
/** One question waits so long at most, so that a member that has died is soon not waited for. */
export const HOLD_SLICE_MS = 2_000
const RETRY_MS = 50

export interface HoldOptions {
  readonly mesh: Pick<Mesh, 'request' | 'handle'>
  readonly inventory: Pick<Inventory, 'whenHeld'>
  /** Somebody waits for this node to hold an image, until the signal aborts. */
  readonly onAwaited: (manifest: Digest, signal: AbortSignal) => void
}

/** The question whether a member holds an image, all of it and synced, asked of the member itself. */
export class Hold {
  readonly #mesh: HoldOptions['mesh']

  constructor({ mesh, inventory, onAwaited }: HoldOptions) {
    this.#mesh = mesh
    mesh.handle(HOLD_PROTOCOL, MAX_HOLD_BYTES, async (_peer, request, left) => {
      const [manifest] = decodeHave(request)
      if (manifest === undefined) return encode(false)
      const end = new AbortController()
      const time = withDeadline(HOLD_SLICE_MS, left, end.signal)
      onAwaited(manifest, time)
      try {
        return encode(await inventory.whenHeld(manifest, time))
      } finally {
        end.abort()
      }
    })
  }

  /** Whether the peer has said yes, within some seconds; a peer that cannot say has not. */
  async ask(peer: string, manifest: Digest, signal: AbortSignal): Promise<boolean> {
    const time = withDeadline(2 * HOLD_SLICE_MS, signal)
    try {
      const answer = await this.#mesh.request(peer, HOLD_PROTOCOL, encodeHave([manifest]), {
        signal: time,
        maxBytes: MAX_HOLD_BYTES
      })
      return decode(answer) === true
    } catch {
      // Gone, or about to be: whether it still counts is for the membership to say.
      await delay(RETRY_MS, undefined, { signal }).catch(() => undefined)
      return false
    }
  }
}
