import { readFile } from 'node:fs/promises'
import { parse as parseYaml } from 'yaml'
import { type AnySetting, variableOf } from './setting.ts'

/** What was given for a setting, and where, in words that help to find it. */
export interface Given {
  readonly texts: readonly string[]
  readonly origin: string
}

/** One place settings come from. */
export type Source = (setting: AnySetting) => Given | undefined

/** Flags as the command line parser collected them: a text, or texts when repeatable. */
export type Flags = Readonly<Record<string, string | readonly string[] | undefined>>

export type Environment = Readonly<Record<string, string | undefined>>

export function fromFlags(flags: Flags): Source {
  return setting => {
    const given = flags[setting.flag]
    if (given === undefined) return undefined
    return { texts: typeof given === 'string' ? [given] : given, origin: `--${setting.flag}` }
  }
}

/** A variable set to nothing counts as not set, as manifests often leave one empty. */
export function fromEnvironment(environment: Environment): Source {
  return setting => {
    const origin = variableOf(setting)
    const text = environment[origin]
    if (text === undefined || text.trim() === '') return undefined
    if (setting.kind !== 'many') return { texts: [text], origin }
    return { texts: text.split(',').map(part => part.trim()), origin }
  }
}

/** The settings of a YAML file, and what is wrong with it as a file. */
export async function readSettingsFile(
  file: string,
  settings: readonly AnySetting[]
): Promise<{ source: Source; problems: readonly string[] }> {
  const values = await readMapping(file)
  if (typeof values === 'string') return { source: () => undefined, problems: [values] }
  const known = new Map(settings.map(setting => [setting.flag, setting]))
  const problems: string[] = []
  const given = new Map<string, Given>()
  for (const [key, value] of Object.entries(values)) {
    const setting = known.get(key)
    const origin = `${key} in ${file}`
    if (setting === undefined) {
      problems.push(`${origin}: no such setting; expected one of ${[...known.keys()].join(', ')}`)
      continue
    }
    const texts = (Array.isArray(value) && setting.kind === 'many' ? value : [value]).map(asText)
    if (texts.every(text => text !== undefined)) given.set(key, { texts, origin })
    else problems.push(`${origin}: expected ${setting.expected}`)
  }
  return { source: setting => given.get(setting.flag), problems }
}

/** The top-level mapping of a YAML file, or what is wrong with it. */
async function readMapping(file: string): Promise<Record<string, unknown> | string> {
  try {
    const document: unknown = parseYaml(await readFile(file, 'utf8'))
    if (document === null) return {}
    if (typeof document === 'object' && !Array.isArray(document)) return { ...document }
    return `${file}: expected a mapping of setting names to values`
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
    return `${file}: expected a readable YAML file (${reason})`
  }
}

function asText(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
}
