import { writeFile } from 'node:fs/promises'
import { StarlingError } from '../src/errors.ts'

/** What a bench found: rows for people, and one object for scripts. */
export interface Findings {
  readonly title: string
  readonly rows: readonly (readonly [name: string, value: string])[]
  readonly json: Readonly<Record<string, unknown>>
  /** Why what was found is not what was to be shown, in words; the bench then exits 1. */
  readonly failure?: string
}

/** Several findings of one bench as one; a single one stays as it is. */
export function together(bench: string, findings: readonly Findings[]): Findings {
  const [first, ...others] = findings
  if (first === undefined) throw new StarlingError('CONFIG_INVALID', 'nothing was asked for')
  if (others.length === 0) return first
  return {
    title: first.title,
    rows: findings.flatMap(({ title, rows }, index) =>
      index === 0 ? rows : [['', ''] as const, [title, ''] as const, ...rows]
    ),
    json: { bench, results: findings.map(({ json }) => json) },
    ...failing(findings.flatMap(({ failure }) => failure ?? []))
  }
}

/** The part of findings that says what was to be shown and was not, if there is any. */
export function failing(failures: readonly string[]): Pick<Findings, 'failure'> {
  return failures.length === 0 ? {} : { failure: failures.join('; ') }
}

/** Prints the table, and writes the object to a file, or to standard output for `-`. */
export async function print(findings: Findings, file?: string): Promise<void> {
  const { title, rows, json, failure } = findings
  if (failure !== undefined) {
    console.error(`bench: ${failure}`)
    process.exitCode = 1
  }
  const text = `${JSON.stringify(json, undefined, 2)}\n`
  if (file === '-') {
    process.stdout.write(text)
    return
  }
  const width = Math.max(...rows.map(([name, value]) => (value === '' ? 0 : name.length)))
  console.log(title)
  for (const [name, value] of rows) console.log(`  ${name.padEnd(width)}  ${value}`.trimEnd())
  if (file !== undefined) await writeFile(file, text)
}
