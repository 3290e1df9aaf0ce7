/**
 * The sentences in a `Warning` header (`299 - "text"`, OCI distribution-spec, "Warnings"), of which
 * several are joined by commas; a header of another form is told as it is.
 */
export function warningsIn(header: string | undefined): readonly string[] {
  if (header === undefined) return []
  const texts = [...header.matchAll(WARNING)].map(([, quoted = '']) => quoted.replace(ESCAPE, '$1'))
  return texts.length === 0 ? [header] : texts
}

const WARNING = /299 \S+ "((?:[^"\\]|\\.)*)"/g
const ESCAPE = /\\(.)/g
