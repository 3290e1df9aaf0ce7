import { registerHooks } from 'node:module'
import { installTimers } from './timers.ts'

/**
 * Puts the simulated machine under the code of `src`: whatever it imports of these comes from here.
 * The code itself runs as it is. To be called before anything of `src` is loaded.
 */
export function installMachine(): void {
  installTimers()
  registerHooks({
    resolve(specifier, context, next) {
      const twin = TWINS[specifier]
      const isOurs = context.parentURL?.startsWith(SOURCES) === true
      if (twin === undefined || !isOurs) return next(specifier, context)
      return { url: new URL(twin, import.meta.url).href, shortCircuit: true }
    }
  })
}

const SOURCES = new URL('../../../src/', import.meta.url).href

const TWINS: Readonly<Record<string, string>> = {
  'node:timers/promises': './timers.ts',
  'node:fs/promises': './files.ts',
  level: './level.ts'
}
