import { encode } from 'cborg'
import { type Beat, decodeBeat, encodeBeat, MAX_BEAT_BYTES, MAX_BOOT_LENGTH } from './beat.ts'
import { Fields } from './fields.ts'
import type { Life } from './life.ts'

/**
 * What a neighbour answers to a heartbeat: its own, and any other process it last heard under the
 * asker's id. Gossip cannot tell a node of its twin: gossipsub drops what bears the receiver's name.
 */
export interface Pulse {
  readonly beat: Beat
  readonly rival: Life | undefined
}

export const MAX_PULSE_BYTES = MAX_BEAT_BYTES + 1_024

export function encodePulse({ beat, rival }: Pulse): Uint8Array {
  return encode({
    beat: encodeBeat(beat),
    rivalBoot: rival?.boot ?? '',
    rivalBootedAt: rival?.bootedAt ?? 0,
    rivalSequence: rival?.sequence ?? 0
  })
}

/** Throws `PEER_FAILED` for anything but a sound pulse. */
export function decodePulse(bytes: Uint8Array): Pulse {
  const fields = new Fields(bytes)
  const boot = fields.text('rivalBoot', MAX_BOOT_LENGTH)
  const bootedAt = fields.count('rivalBootedAt')
  const sequence = fields.count('rivalSequence')
  return {
    beat: decodeBeat(fields.bytes('beat')),
    rival: boot === '' ? undefined : { boot, bootedAt, sequence }
  }
}
