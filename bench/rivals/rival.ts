import { StarlingError } from '../../src/errors.ts'
import { startDockerRegistry } from './docker-registry.ts'
import { startNginx } from './nginx.ts'
import { startStarling } from './starling.ts'

/** A server under measurement, in a process of its own, on a free port of the loopback interface. */
export interface Rival {
  readonly name: string
  readonly port: number
  /** Its first process; workers are its children. */
  readonly pid: number
  /** Where it keeps its data, so that a bench can give the space of old runs back. */
  readonly dataDir: string
  stop(): Promise<void>
}

const STARTERS = {
  starling: startStarling,
  'docker-registry': startDockerRegistry,
  nginx: startNginx
} as const

export type RivalName = keyof typeof STARTERS

/** Reads a name; throws `CONFIG_INVALID` when it is not one of those that can take part. */
export function parseRivals(
  names: readonly string[],
  allowed: readonly RivalName[]
): readonly RivalName[] {
  const isAllowed = (name: string): name is RivalName => allowed.some(each => each === name)
  return names.map(name => {
    if (isAllowed(name)) return name
    throw new StarlingError('CONFIG_INVALID', `--against: ${name} is not one of ${allowed}`)
  })
}

/**
 * Starts servers with their data in directories below `dir`, hands them over, and stops them
 * whatever happens. Throws `CONFIG_INVALID` when one is not installed or does not start.
 */
export async function withRivals<Result>(
  names: readonly RivalName[],
  dir: string,
  work: (rivals: readonly Rival[]) => Promise<Result>
): Promise<Result> {
  const rivals: Rival[] = []
  try {
    for (const name of names) rivals.push(await STARTERS[name](dir))
    return await work(rivals)
  } finally {
    await Promise.all(rivals.map(rival => rival.stop()))
  }
}
