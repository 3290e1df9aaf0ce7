import { readFile } from 'node:fs/promises'
import type { Algorithm } from '../digest.ts'
import type { Disk } from './disk.ts'

/** What must be known of an upload, beside its bytes, to go on with it after a restart. */
export interface SessionFile {
  readonly version: 1
  readonly id: string
  readonly repository: string
  readonly owner: string
  readonly algorithm: Algorithm
}

/**
 * Writes the file in place and unsynced: nobody has been told of the session yet, and half a file
 * does not parse. After a power cut a client may have to start its upload again.
 */
export async function writeSession(disk: Disk, path: string, session: SessionFile): Promise<void> {
  const file = await disk.openFile(path)
  try {
    await file.write([Buffer.from(JSON.stringify(session))], 0)
  } finally {
    await file.close()
  }
}

/** Reads a session file; `undefined` when it is not one we can use. */
export async function readSession(path: string): Promise<SessionFile | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'))
    return sessionFrom(value)
  } catch {
    // Unreadable is as good as absent: the client is told that the session is unknown.
    return undefined
  }
}

function sessionFrom(value: unknown): SessionFile | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { version, id, repository, owner, algorithm } = value as Record<string, unknown>
  if (version !== 1 || typeof id !== 'string' || typeof repository !== 'string') return undefined
  if (typeof owner !== 'string' || (algorithm !== 'sha256' && algorithm !== 'sha512')) {
    return undefined
  }
  return { version, id, repository, owner, algorithm }
}
