/** Keeps each time limit for as long as the signal that was made of it. */
const limits = new WeakMap<AbortSignal, AbortSignal>()

/**
 * A signal that aborts with any of these, and when the time is over.
 *
 * `AbortSignal.any` alone may never do the latter: in Node 24.21 a composite signal that nobody
 * listens to looks at its sources only when it is asked, and by then a time limit that has passed
 * may have been collected, and with it all trace of its having passed.
 */
export function withDeadline(timeoutMs: number, ...signals: readonly AbortSignal[]): AbortSignal {
  const limit = AbortSignal.timeout(timeoutMs)
  const either = AbortSignal.any([...signals, limit])
  limits.set(either, limit)
  return either
}
