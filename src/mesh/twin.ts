import { type Life, startedLater } from './life.ts'

/**
 * What is heard of another process under our own id: a copied disk. Heartbeats of this node's own
 * previous life may still be relayed after a restart, so that hearing one proves nothing. A living
 * twin is one whose heartbeats keep advancing for longer than any straggler takes.
 */
export type Twin =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'suspected'
      readonly life: Life
      readonly firstAtMs: number
      readonly lastAtMs: number
      /** How often its sequence was heard to advance. */
      readonly advances: number
    }
  /** Beyond doubt another process; its fate was decided once. */
  | { readonly kind: 'certain'; readonly boot: string }

export const noTwin: Twin = { kind: 'none' }

/** Relayed stragglers come in a burst; this many steps over a dead-after do not. */
const MIN_ADVANCES = 3

/** Takes in a sign of life under our id. `weAreLater` once: when a twin is certain and older. */
export function observeTwin(
  twin: Twin,
  self: Life,
  sign: Life,
  nowMs: number,
  { deadAfterMs }: { readonly deadAfterMs: number }
): { readonly twin: Twin; readonly weAreLater: boolean } {
  const { boot, bootedAt, sequence } = sign
  if (boot === self.boot) return { twin, weAreLater: false }
  if (twin.kind === 'certain' && twin.boot === boot) return { twin, weAreLater: false }
  const life: Life = { boot, bootedAt, sequence }
  const continues =
    twin.kind === 'suspected' && twin.life.boot === boot && nowMs - twin.lastAtMs <= deadAfterMs
  if (!continues) {
    const first: Twin = { kind: 'suspected', life, firstAtMs: nowMs, lastAtMs: nowMs, advances: 0 }
    return { twin: first, weAreLater: false }
  }
  if (sequence <= twin.life.sequence) return { twin, weAreLater: false }
  const next: Twin = { ...twin, life, lastAtMs: nowMs, advances: twin.advances + 1 }
  const certain = next.advances >= MIN_ADVANCES && nowMs - next.firstAtMs > deadAfterMs
  if (!certain) return { twin: next, weAreLater: false }
  return { twin: { kind: 'certain', boot }, weAreLater: startedLater(self, life) }
}
