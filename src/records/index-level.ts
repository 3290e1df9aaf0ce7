import { setTimeout as delay } from 'node:timers/promises'
import type { Level } from 'level'
import { StarlingError, systemCode } from '../errors.ts'
import { ID, ID_BYTES, REGISTER, rangeOf, TOMBSTONE } from './index-keys.ts'
import { type RegisterName, splitHeads } from './register.ts'

/** What a record index is kept in, see `index-keys.ts`. */
export type IndexLevel = Level<Buffer, Buffer>

type Snapshot = ReturnType<IndexLevel['snapshot']>

const LOCK_RETRY_MS = 100

/**
 * Opens it, waiting for another process that is just ending; false when it cannot be opened. Throws
 * `DATA_LOCKED` when the other one does not end.
 */
export async function openLevel(level: IndexLevel, lockTimeoutMs: number): Promise<boolean> {
  for (let waitedMs = 0; ; waitedMs += LOCK_RETRY_MS) {
    try {
      await level.open()
      return true
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined
      if (systemCode(cause) !== 'LEVEL_LOCKED') return false
      if (waitedMs >= lockTimeoutMs) {
        throw new StarlingError('DATA_LOCKED', 'another process has the record index open', {
          cause: error
        })
      }
    }
    await delay(LOCK_RETRY_MS)
  }
}

export async function* registersOf(
  level: IndexLevel
): AsyncGenerator<[RegisterName, Buffer], void> {
  for await (const [key, value] of level.iterator(rangeOf(REGISTER))) {
    yield [key.toString('utf8', 1) as RegisterName, value]
  }
}

export async function* idsOf(level: IndexLevel): AsyncGenerator<[Buffer, RegisterName], void> {
  for await (const [key, value] of level.iterator(rangeOf(ID))) {
    yield [key.subarray(1), value.toString('utf8') as RegisterName]
  }
}

export async function* tombstonesOf(level: IndexLevel): AsyncGenerator<Buffer, void> {
  for await (const key of level.keys(rangeOf(TOMBSTONE))) yield key.subarray(-ID_BYTES)
}

/** The bytes of all records as of a snapshot, which is closed at the end. */
export async function* readRecords(
  level: IndexLevel,
  snapshot: Snapshot
): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const stored of level.values({ ...rangeOf(REGISTER), snapshot })) {
      yield* splitHeads(stored)
    }
  } finally {
    await snapshot.close()
  }
}
