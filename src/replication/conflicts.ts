import type { Log } from '../log.ts'
import type { Records } from '../records/records.ts'

/**
 * Tells of tags that nodes wrote without knowing of each other: all nodes agree on the later write,
 * and whoever pushed the other should know. Each node says it once per write. Returns how to stop.
 */
export function watchConflicts(
  records: Pick<Records, 'onApplied'>,
  onConflict: () => void,
  log: Log
): () => void {
  return records.onApplied(applied => {
    for (const { kind, conflict, value, before } of applied) {
      if (kind !== 'tag' || !conflict || value?.kind !== 'tag') continue
      const { repository, tag, digest } = value
      const other = before?.kind === 'tag' && before.digest !== digest ? before.digest : undefined
      log.warn({ repository, tag, digest, other }, 'tag pushed on two nodes at once')
      onConflict()
    }
  })
}
