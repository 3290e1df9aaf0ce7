/**
 * A pattern of repository names: `*` stands for any characters but "/", `**` as a whole segment for
 * any number of segments, also none. `team/**` matches `team/app` and `team/a/b`, and not `team`.
 */
export interface Glob {
  readonly text: string
  readonly segments: readonly string[]
}

/** A repository name is no longer than that either. */
const MAX_LENGTH = 255

const GLOB = /^[a-z0-9._*-]+(\/[a-z0-9._*-]+)*$/

/** Reads a pattern, or gives `undefined` for what could match no repository. */
export function parseGlob(text: string): Glob | undefined {
  if (text.length > MAX_LENGTH || !GLOB.test(text)) return undefined
  const segments = text.split('/')
  // "a**" looks like more than "a*" and would not be.
  const hasHalf = segments.some(segment => segment !== '**' && segment.includes('**'))
  return hasHalf ? undefined : { text, segments }
}

/** Takes time in proportion to the two lengths at most, whatever a client puts in the name. */
export function matchesGlob({ segments }: Glob, name: string): boolean {
  const parts = name.split('/')
  // As everywhere below `a/**`, at its end the wildcard wants something inside.
  const last = segments.length - 1
  if (segments[last] === '**' && last > 0) {
    return matchesList([...segments.slice(0, last), '*', '**'], parts)
  }
  return matchesList(segments, parts)
}

/** Orders patterns: the one that says more comes first. */
export function bySpecificity(a: Glob, b: Glob): number {
  return (
    literalLength(b) - literalLength(a) ||
    count(a, segment => segment === '**') - count(b, segment => segment === '**') ||
    wildcards(a) - wildcards(b)
  )
}

function literalLength({ text }: Glob): number {
  return text.replaceAll('*', '').length
}

function wildcards({ text }: Glob): number {
  return text.split('*').length - 1
}

function count({ segments }: Glob, matches: (segment: string) => boolean): number {
  return segments.filter(matches).length
}

function matchesList(segments: readonly string[], parts: readonly string[]): boolean {
  return matchesWild(segments.length, parts.length, {
    isWild: at => segments[at] === '**',
    fits: (at, part) => matchesSegment(segments[at] ?? '', parts[part] ?? '')
  })
}

function matchesSegment(pattern: string, text: string): boolean {
  return matchesWild(pattern.length, text.length, {
    isWild: at => pattern[at] === '*',
    fits: (at, part) => pattern[at] === text[part]
  })
}

/**
 * Whether a pattern with wildcards takes in a whole list. Only the last wildcard seen is ever tried
 * again, which is enough, and keeps this from going exponential as a regular expression could.
 */
function matchesWild(
  patternLength: number,
  length: number,
  { isWild, fits }: { isWild: (at: number) => boolean; fits: (at: number, part: number) => boolean }
): boolean {
  let at = 0
  let part = 0
  let wildAt = -1
  let wildPart = 0
  while (part < length) {
    if (at < patternLength && isWild(at)) {
      wildAt = at
      wildPart = part
      at += 1
    } else if (at < patternLength && fits(at, part)) {
      at += 1
      part += 1
    } else if (wildAt !== -1) {
      wildPart += 1
      part = wildPart
      at = wildAt + 1
    } else {
      return false
    }
  }
  while (at < patternLength && isWild(at)) at += 1
  return at === patternLength
}
