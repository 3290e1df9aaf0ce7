const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g

/**
 * The sum of the samples of a metric that carry at least these labels, in a text of Prometheus'
 * exposition format; 0 when there is none.
 */
export function sampleOf(
  text: string,
  name: string,
  labels: Readonly<Record<string, string>>
): number {
  let sum = 0
  for (const line of text.split('\n')) {
    const [, sampleName, labelText = '', value] = SAMPLE.exec(line) ?? []
    if (sampleName !== name) continue
    const has = new Map(Array.from(labelText.matchAll(LABEL), ([, key, label]) => [key, label]))
    if (Object.entries(labels).every(([key, label]) => has.get(key) === label)) sum += Number(value)
  }
  return sum
}
