import { encodedLength } from 'cborg/length'
import { type Digest, tryDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { type Heads, liveHeads } from './merge.ts'
import { type Body, MAX_KEY_BYTES, RECORD_VERSION, type StampedRecord } from './record.ts'
import { isStamp, MAX_HORIZON, type Stamp, stampMs, ZERO_STAMP } from './stamp.ts'

/** This tag points there. */
export interface TagValue {
  readonly kind: 'tag'
  readonly repository: string
  readonly tag: string
  readonly digest: Digest
}

/** This manifest is in this repository. */
export interface LinkValue {
  readonly kind: 'link'
  readonly repository: string
  readonly digest: Digest
  readonly mediaType: string
  readonly sizeBytes: number
  /**
   * Positions, among all that the manifest names, of what was absent when it was pushed and allowed
   * to be: a sparse image. Not there when nothing was.
   */
  readonly absent?: readonly number[]
}

/** This blob should be kept for some time, though nothing may reach it yet. */
export interface LeaseValue {
  readonly kind: 'lease'
  readonly repository: string
  readonly digest: Digest
  readonly sizeBytes: number
  readonly ttlMs: number
  /** The wall-clock time of the record's stamp, in milliseconds since 1970, by its writer's clock. */
  readonly writtenMs: number
}

/** This node belongs to the cluster. */
export interface MemberValue {
  readonly kind: 'member'
  readonly id: string
  readonly name: string
  /** Dialable `host:port` of the mesh. */
  readonly mesh: readonly string[]
  /** Dialable `host:port` of the blob plane. */
  readonly transfer: string
  readonly protocol: readonly [number, number]
  readonly hold: 'all' | 'none'
}

/** How far all members have confirmed what there was; see `horizon.ts`. It only ever rises. */
export interface HorizonValue {
  readonly kind: 'horizon'
  readonly at: Stamp
}

/** What a register says, for the kinds this version knows. */
export type Value = TagValue | LinkValue | LeaseValue | MemberValue | HorizonValue

/** A change that this node makes; it replaces all that this node has of that register. */
export type Write =
  | TagValue
  | LinkValue
  | Omit<LeaseValue, 'writtenMs'>
  | MemberValue
  | HorizonValue
  | {
      readonly kind: 'untag'
      readonly repository: string
      readonly tag: string
      /** Nothing is written when the tag points elsewhere by then. */
      readonly pointingAt?: Digest
    }
  | { readonly kind: 'unlink'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'release'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'forget'; readonly id: string }

/** A register and the body that a {@link Write} puts there. */
export interface Change {
  readonly kind: Value['kind']
  readonly key: string
  /** `undefined` for a tombstone. */
  readonly body: Body | undefined
  /** The register is left alone when it is a tag that points elsewhere. */
  readonly pointingAt?: Digest
}

/**
 * Ends the repository in a key. It sorts below every character of a name, so that all of `a` comes
 * before `a-b` and `a/b`, and no name can contain it.
 */
export const KEY_SEPARATOR = ' '

/** There is one. */
const HORIZON_KEY = 'cluster'

/** Printable ASCII without the separator, where byte order is the order of JavaScript's `<`. */
const NAME = /^[!-~]+$/
/** RFC 6838 allows 127 on each side of the slash. */
const MAX_TEXT_LENGTH = 255
const MAX_ADDRESSES = 8
/** With the longest key and a full context this still makes a record of less than 4 KiB. */
const MAX_BODY_BYTES = 1_500

export function tagKey(repository: string, tag: string): string {
  return `${repository}${KEY_SEPARATOR}${tag}`
}

export function digestKey(repository: string, digest: Digest): string {
  return `${repository}${KEY_SEPARATOR}${digest}`
}

/** Whether this version knows what records of this kind and version mean. */
export function isReadable(version: number, kind: string): boolean {
  return version === RECORD_VERSION && Object.hasOwn(READERS, kind)
}

/**
 * What a register says: the greatest of its live heads that this version can read; `undefined`
 * when it is deleted, was never written, or is not readable.
 */
export function currentValue(heads: Heads): Value | undefined {
  const [first] = heads
  // Whoever was forgotten has to be judged first, also when it wrote its record anew meanwhile.
  if (first?.kind === 'member' && heads.some(head => head.deleted)) return undefined
  if (first?.kind === 'horizon') return greatestHorizon(heads)
  for (const head of liveHeads(heads)) {
    const value = readValue(head)
    if (value !== undefined) return value
  }
  return undefined
}

function greatestHorizon(heads: Heads): HorizonValue | undefined {
  let greatest: HorizonValue | undefined
  for (const head of liveHeads(heads)) {
    const value = readValue(head)
    if (value?.kind === 'horizon' && value.at > (greatest?.at ?? -1)) greatest = value
  }
  return greatest
}

/** What one record says. Its key must agree with its body, or it could speak for another register. */
export function readValue(record: StampedRecord): Value | undefined {
  if (record.body === undefined || record.deleted) return undefined
  if (!Object.hasOwn(READERS, record.kind)) return undefined
  const value = READERS[record.kind as Value['kind']](record.body, record.stamp)
  return value !== undefined && keyOf(value) === record.key ? value : undefined
}

/** What to write where; throws `RECORD_INVALID` when a name or size is out of bounds. */
export function changeOf(write: Write): Change {
  const change = unboundedChange(write)
  if (change.key.length > 0 && Buffer.byteLength(change.key) <= MAX_KEY_BYTES) return change
  throw outOfBounds(write)
}

function unboundedChange(write: Write): Change {
  switch (write.kind) {
    case 'untag': {
      const { repository, tag, pointingAt } = write
      const key = tagKey(repository, tag)
      return { kind: 'tag', key, body: undefined, ...(pointingAt && { pointingAt }) }
    }
    case 'unlink':
      return { kind: 'link', key: digestKey(write.repository, write.digest), body: undefined }
    case 'release':
      return { kind: 'lease', key: digestKey(write.repository, write.digest), body: undefined }
    case 'forget':
      return { kind: 'member', key: write.id, body: undefined }
    default: {
      const { kind, ...fields } = write
      const body = new Map<string, unknown>(Object.entries(fields))
      const key = keyOf(write)
      const readable = READERS[kind](body, ZERO_STAMP) !== undefined
      if (!readable || encodedLength(body) > MAX_BODY_BYTES) {
        throw outOfBounds(write)
      }
      return { kind, key, body }
    }
  }
}

function outOfBounds(write: Write): StarlingError {
  const what = `a ${write.kind} record whose fields are out of bounds`
  return new StarlingError('RECORD_INVALID', what, { detail: write })
}

type Reader = (body: Body, stamp: Stamp) => Value | undefined

const READERS: { readonly [kind in Value['kind']]: Reader } = {
  tag(body) {
    const repository = name(body, 'repository')
    const tag = name(body, 'tag')
    const digest = digestIn(body)
    if (repository === undefined || tag === undefined || digest === undefined) return undefined
    return { kind: 'tag', repository, tag, digest }
  },
  link(body) {
    const repository = name(body, 'repository')
    const digest = digestIn(body)
    const mediaType = text(body, 'mediaType')
    const sizeBytes = count(body, 'sizeBytes')
    const absent = body.get('absent')
    if (repository === undefined || digest === undefined) return undefined
    if (mediaType === undefined || sizeBytes === undefined) return undefined
    const link = { kind: 'link', repository, digest, mediaType, sizeBytes } as const
    if (absent === undefined) return link
    return isPositions(absent) ? { ...link, absent } : undefined
  },
  lease(body, stamp) {
    const repository = name(body, 'repository')
    const digest = digestIn(body)
    const sizeBytes = count(body, 'sizeBytes')
    const ttlMs = count(body, 'ttlMs')
    if (repository === undefined || digest === undefined) return undefined
    if (sizeBytes === undefined || ttlMs === undefined) return undefined
    return { kind: 'lease', repository, digest, sizeBytes, ttlMs, writtenMs: stampMs(stamp) }
  },
  member(body) {
    const id = name(body, 'id')
    const shown = text(body, 'name')
    const transfer = text(body, 'transfer')
    const mesh = addresses(body)
    const protocol = protocolIn(body)
    const hold = body.get('hold')
    if (id === undefined || shown === undefined || transfer === undefined) return undefined
    if (mesh === undefined || protocol === undefined) return undefined
    if (hold !== 'all' && hold !== 'none') return undefined
    return { kind: 'member', id, name: shown, mesh, transfer, protocol, hold }
  },
  horizon(body) {
    const at = body.get('at')
    return isStamp(at) && at <= MAX_HORIZON ? { kind: 'horizon', at } : undefined
  }
}

function keyOf(value: Value | Omit<LeaseValue, 'writtenMs'>): string {
  if (value.kind === 'tag') return tagKey(value.repository, value.tag)
  if (value.kind === 'member') return value.id
  if (value.kind === 'horizon') return HORIZON_KEY
  return digestKey(value.repository, value.digest)
}

function name(body: Body, field: string): string | undefined {
  const value = body.get(field)
  return typeof value === 'string' && NAME.test(value) ? value : undefined
}

function text(body: Body, field: string): string | undefined {
  const value = body.get(field)
  return isText(value) ? value : undefined
}

function count(body: Body, field: string): number | undefined {
  const value = body.get(field)
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined
}

function digestIn(body: Body): Digest | undefined {
  const value = body.get('digest')
  return typeof value === 'string' ? tryDigest(value) : undefined
}

function addresses(body: Body): readonly string[] | undefined {
  const value = body.get('mesh')
  return Array.isArray(value) && value.length <= MAX_ADDRESSES && value.every(isText)
    ? value
    : undefined
}

function protocolIn(body: Body): readonly [number, number] | undefined {
  const value = body.get('protocol')
  if (!Array.isArray(value) || value.length !== 2 || !value.every(Number.isSafeInteger)) {
    return undefined
  }
  return [Number(value[0]), Number(value[1])]
}

function isPositions(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every(each => Number.isSafeInteger(each) && each >= 0)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= MAX_TEXT_LENGTH
}
