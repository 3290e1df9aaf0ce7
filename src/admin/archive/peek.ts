/** The beginning of some bytes, and all of them. */
export interface Peeked {
  /** At least as many as asked for, or all there are. */
  readonly head: Buffer
  readonly whole: AsyncGenerator<Buffer, void>
}

/** Looks at the first bytes of a stream, which is to be read from `whole` after that. */
export async function peek(bytes: AsyncIterable<Buffer>, atLeast: number): Promise<Peeked> {
  const chunks = bytes[Symbol.asyncIterator]()
  let head: Buffer = Buffer.alloc(0)
  while (head.length < atLeast) {
    const next = await chunks.next()
    if (next.done === true) break
    head = Buffer.concat([head, next.value])
  }
  return { head, whole: rejoined(head, chunks) }
}

async function* rejoined(
  head: Buffer,
  chunks: AsyncIterator<Buffer>
): AsyncGenerator<Buffer, void> {
  try {
    if (head.length > 0) yield head
    for (;;) {
      const next = await chunks.next()
      if (next.done === true) return
      yield next.value
    }
  } finally {
    await chunks.return?.()
  }
}
