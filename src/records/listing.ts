import type { RecordIndex } from './index.ts'
import type { Heads } from './merge.ts'
import { currentValue, KEY_SEPARATOR, type Value } from './values.ts'

/** A part of a list: what comes after a name, not including it, and how many at most. */
export interface Page {
  readonly after?: string
  readonly limit: number
}

type ValueOf<K extends Value['kind']> = Extract<Value, { kind: K }>

/** The character after the separator: the end of a repository's keys, and below all longer names. */
const AFTER_SEPARATOR = String.fromCharCode(KEY_SEPARATOR.charCodeAt(0) + 1)

/** Every register of a kind that is not deleted, in the order of keys, as of now. */
export async function* valuesOf<K extends Value['kind']>(
  index: RecordIndex,
  kind: K,
  afterKey?: string
): AsyncGenerator<ValueOf<K>, void> {
  const from = afterKey === undefined ? '' : `${afterKey}\0`
  for await (const heads of index.scan({ gte: `${kind}\0${from}`, lt: `${kind}\x01` })) {
    const value = valueIn(heads, kind)
    if (value !== undefined) yield value
  }
}

/** The live tags of a repository, in byte order. */
export async function listTags(
  index: RecordIndex,
  repository: string,
  page: Page
): Promise<string[]> {
  const prefix = `tag\0${repository}`
  const from = page.after === undefined ? '' : `${page.after}\0`
  const range = { gte: prefix + KEY_SEPARATOR + from, lt: prefix + AFTER_SEPARATOR }
  const tags: string[] = []
  if (page.limit <= 0) return tags
  for await (const heads of index.scan(range)) {
    const value = valueIn(heads, 'tag')
    if (value !== undefined && tags.push(value.tag) >= page.limit) break
  }
  return tags
}

/** The repositories with a live link or tag, in byte order. */
export async function listRepositories(index: RecordIndex, page: Page): Promise<string[]> {
  const tagged = liveRepositories(index, 'tag', page.after)
  const linked = liveRepositories(index, 'link', page.after)
  const found: string[] = []
  try {
    let [tag, link] = [await tagged.next(), await linked.next()]
    while (found.length < page.limit && !(tag.done && link.done)) {
      const next = tag.done || (!link.done && link.value < tag.value) ? link.value : tag.value
      if (next !== undefined) found.push(next)
      if (tag.value === next) tag = await tagged.next()
      if (link.value === next) link = await linked.next()
    }
    return found
  } finally {
    await tagged.return()
    await linked.return()
  }
}

/** Whether a repository has a live link or tag. */
export async function hasRepository(index: RecordIndex, repository: string): Promise<boolean> {
  for (const kind of ['tag', 'link'] as const) {
    const prefix = `${kind}\0${repository}`
    const range = { gte: prefix + KEY_SEPARATOR, lt: prefix + AFTER_SEPARATOR }
    for await (const heads of index.scan(range)) {
      if (valueIn(heads, kind) !== undefined) return true
    }
  }
  return false
}

/** Jumps from repository to repository: one with ten thousand tags costs no more than one with one. */
async function* liveRepositories(
  index: RecordIndex,
  kind: 'tag' | 'link',
  after: string | undefined
): AsyncGenerator<string, void> {
  for (let last = after; ; ) {
    const from = last === undefined ? '' : last + AFTER_SEPARATOR
    const found = await firstIn(index, kind, from)
    if (found === undefined) return
    yield found
    last = found
  }
}

async function firstIn(
  index: RecordIndex,
  kind: 'tag' | 'link',
  from: string
): Promise<string | undefined> {
  for await (const heads of index.scan({ gte: `${kind}\0${from}`, lt: `${kind}\x01` })) {
    const value = valueIn(heads, kind)
    if (value !== undefined) return value.repository
  }
  return undefined
}

function valueIn<K extends Value['kind']>(heads: Heads, kind: K): ValueOf<K> | undefined {
  const value = currentValue(heads)
  return value?.kind === kind ? (value as ValueOf<K>) : undefined
}
