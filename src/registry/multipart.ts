import { randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import type { BlobContent } from './content.ts'
import type { Extent } from './range.ts'

/** Several parts of a blob in one body (RFC 9110, section 14.6). */
export interface Multipart {
  readonly contentType: string
  readonly sizeBytes: number
  /** Settles once the first part can flow. The parts are read one after the other. */
  open(): Promise<Readable>
}

export function multipart(blob: BlobContent, extents: readonly Extent[]): Multipart {
  // The client cannot know it, so no part can contain it on purpose.
  const boundary = randomUUID()
  const heads = extents.map(({ start, end }, index) =>
    Buffer.from(
      `${index === 0 ? '' : '\r\n'}--${boundary}\r\n` +
        'Content-Type: application/octet-stream\r\n' +
        `Content-Range: bytes ${start}-${end - 1}/${blob.sizeBytes}\r\n\r\n`
    )
  )
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`)
  const partBytes = extents.reduce((sum, { start, end }) => sum + end - start, 0)
  const headBytes = heads.reduce((sum, head) => sum + head.length, 0)
  return {
    contentType: `multipart/byteranges; boundary=${boundary}`,
    sizeBytes: partBytes + headBytes + tail.length,
    async open() {
      const [first] = extents
      let opened = first === undefined ? undefined : await blob.open(first)
      const chunks = async function* (): AsyncGenerator<Buffer, void> {
        try {
          for (const [index, extent] of extents.entries()) {
            yield heads[index] ?? tail
            const part = opened ?? (await blob.open(extent))
            opened = undefined
            yield* part
          }
          yield tail
        } finally {
          opened?.destroy()
        }
      }
      return Readable.from(chunks(), { objectMode: false })
    }
  }
}
