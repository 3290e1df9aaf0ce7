import { writeFile } from 'node:fs/promises'

/** What a bench found: rows for people, and one object for scripts. */
export interface Findings {
  readonly title: string
  readonly rows: readonly (readonly [name: string, value: string])[]
  readonly json: Readonly<Record<string, unknown>>
}

/** Prints the table, and writes the object to a file, or to standard output for `-`. */
export async function print({ title, rows, json }: Findings, file?: string): Promise<void> {
  const text = `${JSON.stringify(json, undefined, 2)}\n`
  if (file === '-') {
    process.stdout.write(text)
    return
  }
  const width = Math.max(...rows.map(([name]) => name.length))
  console.log(title)
  for (const [name, value] of rows) console.log(`  ${name.padEnd(width)}  ${value}`)
  if (file !== undefined) await writeFile(file, text)
}
