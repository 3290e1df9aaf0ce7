import type { Digest } from '../../../src/digest.ts'
import { StarlingError } from '../../../src/errors.ts'
import type { BlobStat } from '../../../src/store/partial.ts'
import type { SimBlobs } from './blobs.ts'

interface SimUpload {
  readonly id: string
  readonly repository: string
  offset: number
  readonly chunks: Uint8Array[]
}

/** What stands in for the store's uploads. A process that ends takes them along. */
export class SimUploads {
  readonly #blobs: SimBlobs
  readonly #sessions = new Map<string, SimUpload>()
  #created = 0

  constructor(blobs: SimBlobs) {
    this.#blobs = blobs
  }

  repositories(): Set<string> {
    return new Set([...this.#sessions.values()].map(({ repository }) => repository))
  }

  async create(repository: string): Promise<SimUpload> {
    const upload = { id: String(++this.#created), repository, offset: 0, chunks: [] }
    this.#sessions.set(upload.id, upload)
    return upload
  }

  get(repository: string, id: string): SimUpload {
    const upload = this.#sessions.get(id)
    if (upload?.repository === repository) return upload
    throw new StarlingError('BLOB_UPLOAD_UNKNOWN', `no upload ${id}`)
  }

  async append(upload: SimUpload, body: AsyncIterable<Uint8Array>): Promise<number> {
    for await (const chunk of body) {
      upload.chunks.push(chunk)
      upload.offset += chunk.length
    }
    return upload.offset
  }

  async finish(upload: SimUpload, digest: Digest): Promise<BlobStat> {
    this.#sessions.delete(upload.id)
    const bytes = Buffer.concat(upload.chunks)
    await this.#blobs.put(bytes, digest)
    return { sizeBytes: bytes.length }
  }

  async cancel(upload: SimUpload): Promise<void> {
    this.#sessions.delete(upload.id)
  }
}
