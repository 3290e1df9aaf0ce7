import { StarlingError } from './errors.ts'

/**
 * Reads a JSON document from a client, nested at most `maxDepth` deep: a few megabytes of "[" would
 * else become as many objects. A byte order mark is passed over.
 *
 * @throws `MANIFEST_INVALID`
 */
export function parseJson(bytes: Uint8Array, maxDepth: number): unknown {
  if (depthOf(bytes) > maxDepth) {
    throw new StarlingError('MANIFEST_INVALID', `the JSON is nested more than ${maxDepth} deep`)
  }
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new StarlingError('MANIFEST_INVALID', 'the body is not JSON', { cause })
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** How deep brackets nest outside of strings. All that matters is ASCII, so bytes will do. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (byte === 0x5d || byte === 0x7d) depth--
  }
  return deepest
}
