import type { MembershipLimits } from './membership.ts'

/** How a member stands with this node; design, section 1. */
export type Standing =
  | { readonly kind: 'live'; readonly silentMs: number }
  /** `absentMs` grows only while this node hears most members; it leads to `gone`. */
  | { readonly kind: 'away'; readonly silentMs: number; readonly absentMs: number }
  | { readonly kind: 'gone'; readonly reason: GoneReason }

/** Forgotten by an operator, its name taken by a new id, or absent for `--forget-after`. */
export type GoneReason = 'forgotten' | 'replaced' | 'absent'

/** The standing after so much more silence; `counting` while this node hears most members. */
export function aged(
  standing: Standing,
  elapsedMs: number,
  counting: boolean,
  limits: MembershipLimits
): Standing {
  if (standing.kind === 'gone') return standing
  const silentMs = standing.silentMs + elapsedMs
  if (standing.kind === 'live') {
    return silentMs > limits.deadAfterMs
      ? { kind: 'away', silentMs, absentMs: 0 }
      : { kind: 'live', silentMs }
  }
  const absentMs = standing.absentMs + (counting ? elapsedMs : 0)
  return absentMs > limits.forgetAfterMs
    ? { kind: 'gone', reason: 'absent' }
    : { kind: 'away', silentMs, absentMs }
}
