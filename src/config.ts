import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { conflicts } from './config/conflicts.ts'
import { type AnySetting, maybe, variableOf } from './config/setting.ts'
import { type Config, SETTINGS } from './config/settings.ts'
import {
  type Environment,
  type Flags,
  fromEnvironment,
  fromFlags,
  type Given,
  readSettingsFile,
  type Source
} from './config/sources.ts'
import { path } from './config/values.ts'
import { StarlingError } from './errors.ts'

export type { Config } from './config/settings.ts'
export { formatHostPort, type HostPort } from './config/values.ts'

const ALL: readonly AnySetting[] = Object.values(SETTINGS)

const CONFIG_FILE = maybe({
  flag: 'config',
  placeholder: 'file',
  format: path,
  shownDefault: 'none',
  meaning: 'YAML file of these settings, by flag name without the dashes'
})

/** Adds the flag of every setting to a command; {@link loadConfig} reads what it collects. */
export function addSettings(command: Command): Command {
  for (const setting of [CONFIG_FILE, ...ALL]) command.addOption(optionOf(setting))
  return command
}

/** Adds the flags that say where a running node keeps its data, for commands that talk to it. */
export function addDataSettings(command: Command): Command {
  return command.addOption(optionOf(CONFIG_FILE)).addOption(optionOf(SETTINGS.dataDir))
}

/**
 * Reads every setting: file, overruled by environment, overruled by flags.
 *
 * @param whyUnreadable why a file that a setting names cannot be read; no file is looked for if not given
 * @returns the settings, and warnings about `STARLING_*` variables that name none of them, which
 *   is no error since Kubernetes injects some (`STARLING_SERVICE_HOST`)
 * @throws `CONFIG_INVALID` naming every wrong setting, where it came from and what was expected
 */
export async function loadConfig(
  options: Options,
  environment: Environment = process.env,
  whyUnreadable: (file: string) => Promise<string | undefined> = async () => undefined
): Promise<{ config: Config; warnings: readonly string[] }> {
  const { sources, problems } = await openSources(options, environment)
  const values: Record<string, unknown> = {}
  for (const [key, setting] of Object.entries(SETTINGS)) {
    const value = readSetting(setting, sources, problems)
    values[key] = value
    if (setting.absentHint === undefined || value === undefined) continue
    const reason = await whyUnreadable(String(value))
    if (reason === undefined) continue
    const { origin } = firstGiven(setting, sources)
    problems.push(`${origin}: cannot read ${value} (${reason})${setting.absentHint}`)
  }
  problems.push(...conflicts(values))
  refuse(problems)
  // Each key was read by the setting of that key, so the shape is that of the table.
  return { config: values as unknown as Config, warnings: unknownVariables(environment) }
}

/** Warnings about `STARLING_*` variables that name no setting; one of them may have been meant. */
export function unknownVariables(environment: Environment = process.env): readonly string[] {
  const known = new Set([CONFIG_FILE, ...ALL].map(variableOf))
  return Object.keys(environment)
    .filter(name => name.startsWith('STARLING_') && !known.has(name))
    .map(name => `${name}: no such setting, ignored`)
}

/** Only where the data is, from the same sources. Throws `CONFIG_INVALID`. */
export async function loadDataDir(
  options: Options,
  environment: Environment = process.env
): Promise<string> {
  const { sources, problems } = await openSources(options, environment)
  const directory = readSetting(SETTINGS.dataDir, sources, problems)
  refuse(problems)
  return String(directory)
}

/** The README's table of settings, as markdown. */
export function settingsTable(): string {
  const rows = ALL.map(
    ({ flag, shownDefault, meaning }) => `| \`--${flag}\` | ${shownDefault} | ${meaning} |`
  )
  return ['| flag | default | meaning |', '|---|---|---|', ...rows].join('\n')
}

/** What Commander's `command.opts()` gives: camel-cased flags. */
type Options = Readonly<Record<string, unknown>>

function optionOf(setting: AnySetting): Option {
  const words = `${setting.meaning.replaceAll('`', '')} (default: ${setting.shownDefault.replaceAll('`', '')})`
  const option = new Option(`--${setting.flag} <${setting.placeholder}>`, words)
  if (setting.kind !== 'many') return option
  return option.argParser((text: string, previous: readonly string[] = []) => [...previous, text])
}

async function openSources(
  options: Options,
  environment: Environment
): Promise<{ sources: readonly Source[]; problems: string[] }> {
  const problems: string[] = []
  const given = [fromFlags(flagsOf(options)), fromEnvironment(environment)]
  const file = readSetting(CONFIG_FILE, given, problems)
  if (file === undefined) return { sources: given, problems }
  const read = await readSettingsFile(resolve(String(file)), ALL)
  return { sources: [...given, read.source], problems: [...problems, ...read.problems] }
}

function flagsOf(options: Options): Flags {
  const flags: Record<string, string | readonly string[] | undefined> = {}
  for (const setting of [CONFIG_FILE, ...ALL]) {
    const value = options[optionOf(setting).attributeName()]
    if (typeof value === 'string' || Array.isArray(value)) flags[setting.flag] = value
  }
  return flags
}

/** The value of a setting from the first source that has one; notes every text that is wrong. */
function readSetting(setting: AnySetting, sources: readonly Source[], problems: string[]): unknown {
  const { texts, origin } = firstGiven(setting, sources)
  const values: unknown[] = []
  for (const text of texts) {
    const value = setting.parse(text)
    if (value === undefined) {
      problems.push(`${origin}: expected ${setting.expected}; got ${JSON.stringify(text)}`)
    } else {
      values.push(value)
    }
  }
  return setting.kind === 'many' ? values : values[0]
}

function firstGiven(setting: AnySetting, sources: readonly Source[]): Given {
  for (const source of sources) {
    const given = source(setting)
    if (given !== undefined) return given
  }
  const texts = setting.fallback === undefined ? [] : [setting.fallback]
  return { texts, origin: `--${setting.flag} (default)` }
}

/** A line for each. */
function refuse(problems: readonly string[]): void {
  if (problems.length === 0) return
  throw new StarlingError('CONFIG_INVALID', problems.join('\n'), { detail: problems })
}
