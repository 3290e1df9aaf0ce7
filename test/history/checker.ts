import type { Digest } from '../../src/digest.ts'
import type { History, Isolation, Operation, Wipe } from './operation.ts'

/** A promise that was broken, and by which operation it shows. */
export interface Violation {
  readonly kind: 'half image' | 'wrong bytes' | 'stale' | 'lost' | 'resurrected' | 'invented'
  readonly operation: Operation
  /** The write that the reader should have seen the effect of. */
  readonly missed?: Operation
  readonly detail: string
}

/** What a tag is: a digest, or deleted; a tag that was never written is deleted too. */
type Value = Digest | undefined

interface Write {
  readonly operation: Operation
  readonly value: Value
  readonly startMs: number
  /** When it had its effect at the latest. */
  readonly endMs: number
  readonly isPromised: boolean
  /** Whether its bytes may have gone with the disk of the one node that was told of them. */
  readonly mayBeLost: boolean
}

/** A member that heard nobody is right within this of hearing peers again (P2). */
const CATCH_UP_MS = 5_000

/**
 * Finds broken promises in a history (design, section 2). Each tag is a register: a reader may see
 * the value of a write unless another write, promised without a `Warning`, began after that one had
 * ended and was itself answered before the reader began. A write whose answer is not known may take
 * effect at any later time; one that was not promised may be lost with the disk of its node, and
 * the tag then names what nobody has.
 */
export function check(history: History): Violation[] {
  const tags = Map.groupBy(history.operations, ({ tag }) => tag)
  return [...tags.values()].flatMap(operations => checkTag(operations, history))
}

function checkTag(operations: readonly Operation[], { isolations, wipes }: History): Violation[] {
  const writes = operations.flatMap(operation => writeOf(operation, wipes))
  return operations.flatMap(operation => {
    const { action } = operation
    if (action.kind !== 'pull') return []
    const { found } = action
    switch (found.kind) {
      case 'nothing':
        return []
      case 'wrong':
        return [{ kind: 'wrong bytes', operation, detail: found.detail }]
      case 'half':
        return mayHaveGone(found.digest, operation, writes)
          ? []
          : [{ kind: 'half image', operation, detail: found.detail }]
      default: {
        const value = found.kind === 'image' ? found.digest : undefined
        return checkRead(operation, value, writes, isolations)
      }
    }
  })
}

/**
 * An image that is replaced or deleted while it is pulled may lose its blobs under the reader, and
 * so may one that was never promised.
 */
function mayHaveGone(digest: Digest, read: Operation, writes: readonly Write[]): boolean {
  const origin = writes.find(({ value }) => value === digest)
  if (origin?.mayBeLost) return true
  return writes.some(
    write => write !== origin && write.startMs < read.endMs && write.endMs > (origin?.startMs ?? 0)
  )
}

function checkRead(
  read: Operation,
  value: Value,
  writes: readonly Write[],
  isolations: readonly Isolation[]
): Violation[] {
  const seen = writes.filter(
    write =>
      write.startMs < read.endMs &&
      (write.value === value || (value === undefined && write.mayBeLost))
  )
  const isInitial = value === undefined
  if (seen.length === 0 && !isInitial) {
    return [{ kind: 'invented', operation: read, detail: `${value} was never pushed here` }]
  }
  const missedBy = (endMs: number): Write | undefined =>
    writes.find(
      ({ startMs, endMs: promisedMs, isPromised, operation, value: theirs }) =>
        isPromised &&
        theirs !== value &&
        startMs > endMs &&
        promisedMs < read.startMs &&
        !isExcused(read, operation, isolations)
    )
  const causes = seen.map(({ endMs }) => missedBy(endMs))
  if (isInitial) causes.push(missedBy(Number.NEGATIVE_INFINITY))
  const missed = causes.at(-1)
  if (missed === undefined || causes.includes(undefined)) return []
  const detail = `found ${value ?? 'nothing'}, after ${missed.value ?? 'a delete'} was promised`
  const kind = missed.value === undefined ? 'resurrected' : value === undefined ? 'lost' : 'stale'
  return [{ kind, operation: read, missed: missed.operation, detail }]
}

/** The reader's node could not hear of the write when it was made, nor for long enough since. */
function isExcused(read: Operation, write: Operation, isolations: readonly Isolation[]): boolean {
  return isolations.some(
    ({ node, startMs, endMs }) =>
      node === read.node &&
      write.endMs > startMs &&
      write.startMs < endMs &&
      read.startMs < endMs + CATCH_UP_MS
  )
}

function writeOf(operation: Operation, wipes: readonly Wipe[]): Write[] {
  const { action, startMs } = operation
  if (action.kind === 'pull' || action.outcome === 'refused') return []
  const value = action.kind === 'push' ? action.digest : undefined
  const endMs = action.outcome === 'unknown' ? Number.POSITIVE_INFINITY : operation.endMs
  const isPromised = action.outcome === 'done'
  const mayBeLost =
    !isPromised && wipes.some(({ node, atMs }) => node === operation.node && atMs >= startMs)
  return [{ operation, value, startMs, endMs, isPromised, mayBeLost }]
}
