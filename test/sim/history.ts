import type { Digest } from '../../src/digest.ts'
import { covers } from '../../src/records/merge.ts'
import type { StampedRecord } from '../../src/records/record.ts'
import type { SimImage } from './images.ts'

/** What became of a change that a client asked for. */
export type Outcome =
  /** Nobody knows: it has not been answered yet, or with an error, or not at all. */
  | 'unknown'
  /** Answered without a warning: the promises hold for it. */
  | 'acknowledged'
  /** Answered with a warning. */
  | 'warned'

/** A change that a client asked for, and what the promises of it rest on. */
export interface Change {
  readonly kind: 'push' | 'untag' | 'unlink'
  readonly repository: string
  readonly tag: string
  /** The image pushed; or the one that was there to be deleted. */
  readonly image: SimImage
  /** What the tag said on that node right before, which the change replaces. */
  replaced: Digest | undefined
  /** Of the deletion of an image: the tags that named it on that node. */
  tags: readonly string[]
  readonly beganMs: number
  endedMs: number | undefined
  outcome: Outcome
  /** The records that it has written. */
  readonly written: StampedRecord[]
  /** The process that was asked. */
  readonly boot: string
  /** Processes, by boot, that the node saw live when it acknowledged. */
  liveAtEnd: ReadonlySet<string>
  /** K' when it was acknowledged, and how many disks with a copy were lost since. */
  copies: number
  losses: number
}

/** All that clients asked for, in the order in which they did. */
export class History {
  readonly changes: Change[] = []

  begin(
    change: Pick<Change, 'kind' | 'repository' | 'tag' | 'image' | 'boot' | 'beganMs'>
  ): Change {
    const begun: Change = {
      ...change,
      ...{ replaced: undefined, tags: [], endedMs: undefined, outcome: 'unknown', written: [] },
      ...{ liveAtEnd: new Set(), copies: 0, losses: 0 }
    }
    this.changes.push(begun)
    return begun
  }

  /** The pushes that were acknowledged, and that no later request may have taken back. */
  standingImages(): Change[] {
    return this.changes.filter(
      push =>
        push.kind === 'push' &&
        push.outcome === 'acknowledged' &&
        !this.changes.some(
          other => other.kind === 'unlink' && isSameImage(other, push) && mayFollow(other, push)
        )
    )
  }

  /**
   * Deletes of images that were answered, and that no push may have come after. A delete takes what
   * its node has seen (design, section 5): a push that it had not, it leaves standing.
   */
  standingDeletes(): Change[] {
    return this.changes.filter(
      unlink =>
        unlink.kind === 'unlink' &&
        unlink.outcome === 'acknowledged' &&
        !this.changes.some(
          other =>
            other.kind === 'push' &&
            isSameImage(other, unlink) &&
            (mayFollow(other, unlink) || isUnseen(other, unlink, 'link'))
        )
    )
  }

  /** Every tag that anything was asked of. */
  tags(): { readonly repository: string; readonly tag: string }[] {
    const tags = new Map(
      this.changes.map(({ repository, tag }) => [`${repository}:${tag}`, { repository, tag }])
    )
    return [...tags.values()]
  }

  /**
   * Why a tag may not say this, to those who are bound by these changes: all that were acknowledged
   * once all nodes agree, or what a node had to know when it answered. `undefined` when it may.
   */
  contradiction(
    repository: string,
    tag: string,
    digest: Digest | undefined,
    binds: (change: Change) => boolean = isAcknowledged
  ): string | undefined {
    const changes = this.changes.filter(
      each => each.repository === repository && touches(each, tag)
    )
    if (digest === undefined) return lostTag(changes, binds)
    if (!changes.some(each => each.kind === 'push' && each.image.digest === digest))
      return 'nobody pushed that'
    const later = changes.find(
      each =>
        binds(each) &&
        replaces(each, digest) &&
        (each.kind !== 'unlink' || each.tags.includes(tag)) &&
        !isPushedAfter(changes, digest, each)
    )
    return later && `${later.kind} of ${at(later)} replaced it`
  }
}

export function isAcknowledged({ outcome }: Change): boolean {
  return outcome === 'acknowledged'
}

/** A tag that is gone: somebody must have deleted it after the last push that binds. */
function lostTag(
  changes: readonly Change[],
  binds: (change: Change) => boolean
): string | undefined {
  const pushes = changes.filter(({ kind }) => kind === 'push')
  const last = pushes.findLast(binds)
  if (last === undefined) return undefined
  const isExcuse = (other: Change): boolean => {
    if (!mayFollow(other, last)) return false
    if (other.kind === 'push') return !isAcknowledged(other)
    // Where two pushes did not know of each other, whoever deletes one of them deletes both.
    return (
      other.kind === 'untag' ||
      isSameImage(other, last) ||
      pushes.some(push => isSameImage(push, other) && mayFollow(push, last))
    )
  }
  return changes.some(isExcuse) ? undefined : `push of ${at(last)} is lost`
}

/** Whether the change put something else, or nothing, in the place of this. */
function replaces({ kind, image, replaced }: Change, digest: Digest): boolean {
  return replaced === digest && (kind !== 'push' || image.digest !== digest)
}

/** An image that was pushed again stands again, or where it was and the later change did not see it. */
function isPushedAfter(changes: readonly Change[], digest: Digest, later: Change): boolean {
  return changes.some(
    each =>
      each.kind === 'push' &&
      each.image.digest === digest &&
      (mayFollow(each, later) || (isUnseen(each, later, 'tag') && !isOutdone(changes, each, later)))
  )
}

/** Of two tags side by side that with the greater stamp counts, as long as it is there. */
function isOutdone(changes: readonly Change[], push: Change, later: Change): boolean {
  const isReplaced = changes.some(
    each => replaces(each, later.image.digest) && mayFollow(each, later)
  )
  return !isReplaced && later.kind === 'push' && tagStamp(later) > tagStamp(push)
}

function tagStamp({ written }: Change): number {
  return Math.max(...written.filter(({ kind }) => kind === 'tag').map(({ stamp }) => stamp))
}

/** Deleting an image takes all its tags along, whichever they are. */
function touches(change: Change, tag: string): boolean {
  return change.kind === 'unlink' || change.tag === tag
}

function isSameImage(a: Change, b: Change): boolean {
  return a.repository === b.repository && a.image.digest === b.image.digest
}

/** Whether a change may have taken effect after another; it has not when it ended before that began. */
function mayFollow(change: Change, before: Change): boolean {
  const isOver = change.outcome !== 'unknown' && change.endedMs !== undefined
  return change !== before && !(isOver && (change.endedMs ?? 0) < before.beganMs)
}

/**
 * Whether what a push wrote of a kind stands beside what a later change wrote, whose node did not
 * know of it and did not have to.
 */
function isUnseen(push: Change, later: Change, kind: 'link' | 'tag'): boolean {
  if (isAcknowledged(push) && push.liveAtEnd.has(later.boot)) return false
  const over = later.written.filter(each => each.kind === kind)
  return push.written
    .filter(each => each.kind === kind)
    .some(mine => !over.some(each => each.key === mine.key && covers(each, mine)))
}

function at({ beganMs, image, repository, tag }: Change): string {
  return `${repository}:${tag} (${image.name}) at ${Math.round(beganMs)} ms`
}
