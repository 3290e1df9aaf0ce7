import type { Format } from './values.ts'

/** One thing a node can be told, in the same words everywhere: flag, environment, file, README. */
export interface Setting<T, Kind extends 'one' | 'maybe' | 'many'> extends Format<T> {
  readonly kind: Kind
  /** Without the dashes; also the key in the file and, upper-cased, the variable's name. */
  readonly flag: string
  /** The placeholder in `--help`. */
  readonly placeholder: string
  /** What is read when nothing is given. A setting of kind `one` always has it. */
  readonly fallback: string | undefined
  /** The default in words, for people. */
  readonly shownDefault: string
  readonly meaning: string
}

export type AnySetting = Setting<unknown, 'one' | 'maybe' | 'many'>

/** The type of a parsed setting. */
export type Parsed<S> =
  S extends Setting<infer T, infer Kind>
    ? { one: T; maybe: T | undefined; many: readonly T[] }[Kind]
    : never

interface Words<T> {
  readonly flag: string
  readonly placeholder: string
  readonly format: Format<T>
  readonly meaning: string
  readonly fallback?: string
  readonly shownDefault?: string
}

/** A setting that always has exactly one value. */
export function one<T>(words: Words<T> & { fallback: string }): Setting<T, 'one'> {
  return setting('one', words)
}

/** A setting that may be left out. */
export function maybe<T>(words: Words<T> & { shownDefault: string }): Setting<T, 'maybe'> {
  return setting('maybe', words)
}

/** A setting that may be given several times. */
export function many<T>(words: Words<T>): Setting<T, 'many'> {
  return setting('many', words)
}

function setting<T, Kind extends 'one' | 'maybe' | 'many'>(
  kind: Kind,
  { format, fallback, shownDefault, ...words }: Words<T>
): Setting<T, Kind> {
  const shown = shownDefault ?? (fallback === undefined ? 'none' : `\`${fallback}\``)
  return { kind, ...words, ...format, fallback, shownDefault: shown }
}

/** `dead-after` is `STARLING_DEAD_AFTER` in the environment. */
export function variableOf(setting: AnySetting): string {
  return `STARLING_${setting.flag.toUpperCase().replaceAll('-', '_')}`
}
