import { activeWorld, type Host, type Task, type World } from './world.ts'

/**
 * What stands in for Node's timers while a simulated machine's code runs: `node:timers/promises`
 * for the modules under `src`, and the globals. All other code has the real ones.
 */

/** As `setTimeout` of `node:timers/promises`. */
export function setTimeout<Value>(
  delayMs: number,
  value: Value,
  options: { signal?: AbortSignal } = {}
): Promise<Value> {
  const { signal } = options
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(ABORTED)
    const onAbort = () => {
      clearTimer(timer)
      reject(ABORTED)
    }
    const timer = startTimer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve(value)
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** As `setImmediate` of `node:timers/promises`. */
export function setImmediate<Value>(value: Value): Promise<Value> {
  return setTimeout(0, value)
}

/** Takes the place of the global timers, for code that runs on a simulated machine. */
export function installTimers(): void {
  const real = { ...pick(globalThis), timeout: AbortSignal.timeout }
  Object.assign(globalThis, {
    setTimeout: (run: (...values: unknown[]) => void, delayMs = 0, ...values: unknown[]) =>
      inWorld()
        ? startTimer(delayMs, () => run(...values))
        : real.setTimeout(run, delayMs, ...values),
    setInterval: (run: (...values: unknown[]) => void, delayMs = 0, ...values: unknown[]) =>
      inWorld()
        ? startTimer(delayMs, () => run(...values), delayMs)
        : real.setInterval(run, delayMs, ...values),
    clearTimeout: (timer: NodeJS.Timeout | Timer | undefined) =>
      timer instanceof Timer ? clearTimer(timer) : real.clearTimeout(timer),
    clearInterval: (timer: NodeJS.Timeout | Timer | undefined) =>
      timer instanceof Timer ? clearTimer(timer) : real.clearInterval(timer)
  })
  AbortSignal.timeout = delayMs => {
    if (!inWorld()) return real.timeout(delayMs)
    const controller = new AbortController()
    const late = () => controller.abort(TIMED_OUT)
    startTimer(delayMs, late)
    return controller.signal
  }
}

/** What `setTimeout` and `setInterval` give: code under `src` only ever lets go of it or clears it. */
class Timer {
  readonly host: Host | undefined
  task: Task | undefined

  constructor(host: Host | undefined) {
    this.host = host
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }
}

function startTimer(delayMs: number, run: () => void, everyMs?: number): Timer {
  const world = worldNow()
  const timer = new Timer(world.host)
  const fire = () => {
    timer.task = everyMs === undefined ? undefined : world.after(everyMs, timer.host, fire)
    run()
  }
  timer.task = world.after(delayMs, timer.host, fire)
  return timer
}

function clearTimer(timer: Timer): void {
  if (timer.task !== undefined) timer.task.cancelled = true
  timer.task = undefined
}

function inWorld(): boolean {
  return activeWorld()?.host !== undefined
}

function worldNow(): World {
  const world = activeWorld()
  if (world === undefined) throw new Error('code of a simulated machine runs outside of its world')
  return world
}

/** Made once, for what a stack trace costs; nobody asks it for the reason. */
const ABORTED = new DOMException('The operation was aborted', 'AbortError')
const TIMED_OUT = new DOMException('The operation was aborted due to timeout', 'TimeoutError')

function pick({ setTimeout, setInterval, clearTimeout, clearInterval }: typeof globalThis) {
  return { setTimeout, setInterval, clearTimeout, clearInterval }
}
