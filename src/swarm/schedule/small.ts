import type { Random } from '../../clock.ts'
import { SMALL_BLOB_BYTES } from '../piece-size.ts'

/** A blob up to this size travels with its announcement: asking would cost more than the bytes. */
export const INLINE_BYTES = 32 * 1024

/** One request names so many blobs, and its answer holds so many bytes, at most. */
export const BATCH_BLOBS = 256
export const BATCH_BYTES = 4 * 1024 * 1024

/** So many holders share the work: more would make the batches small again. */
const HOLDERS = 3

/** A small blob that is missing, and the peers that have it. */
export interface SmallBlob {
  readonly blob: string
  readonly sizeBytes: number
  readonly holders: readonly string[]
}

/** What is asked of one peer in one request. */
export interface Batch {
  readonly peer: string
  readonly blobs: readonly string[]
  readonly bytes: number
}

/** How a blob of this size travels: with its announcement, in a batch, or in pieces. */
export function carriageOf(sizeBytes: number): 'inline' | 'batch' | 'pieces' {
  if (sizeBytes <= INLINE_BYTES) return 'inline'
  return sizeBytes <= SMALL_BLOB_BYTES ? 'batch' : 'pieces'
}

/**
 * Shares small blobs out over a few of their holders, drawn by chance so that a flock of nodes does
 * not run to the same ones, each blob to one holder. Order is kept: what comes first is asked
 * first. Blobs without a holder are left out.
 */
export function planBatches(blobs: readonly SmallBlob[], random: Random): Batch[] {
  const chosen = new Map<string, number>()
  const open = new Map<string, { blobs: string[]; bytes: number }>()
  const batches: Batch[] = []
  const close = (peer: string) => {
    const batch = open.get(peer)
    if (batch !== undefined && batch.blobs.length > 0) batches.push({ peer, ...batch })
    open.delete(peer)
  }
  for (const { blob, sizeBytes, holders } of blobs) {
    const peer = holderFor(holders, chosen, random)
    if (peer === undefined) continue
    chosen.set(peer, (chosen.get(peer) ?? 0) + sizeBytes)
    const before = open.get(peer)
    if (before && (before.blobs.length >= BATCH_BLOBS || before.bytes + sizeBytes > BATCH_BYTES)) {
      close(peer)
    }
    const batch = open.get(peer) ?? { blobs: [], bytes: 0 }
    batch.blobs.push(blob)
    batch.bytes += sizeBytes
    open.set(peer, batch)
  }
  for (const peer of [...open.keys()]) close(peer)
  return batches
}

/** Among those already drawn the one with the least to do; a new one while there are too few. */
function holderFor(
  holders: readonly string[],
  chosen: ReadonlyMap<string, number>,
  random: Random
): string | undefined {
  const drawn = holders.filter(each => chosen.has(each))
  const others = holders.filter(each => !chosen.has(each))
  if (drawn.length === 0 || (chosen.size < HOLDERS && others.length > 0)) {
    return others[Math.floor(random() * others.length)]
  }
  return drawn.reduce((least, each) =>
    (chosen.get(each) ?? 0) < (chosen.get(least) ?? 0) ? each : least
  )
}
