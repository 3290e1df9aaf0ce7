import { hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { type Digest, digestOf } from '../../../src/digest.ts'
import { StarlingError } from '../../../src/errors.ts'
import type { PieceFile, PieceShape, PieceStore } from '../../../src/swarm/driver/ports.ts'

/** The files of one node, in memory. */
export class MemoryStore implements PieceStore {
  readonly blobs = new Map<Digest, Buffer>()
  readonly uploads = new Map<string, Buffer>()
  readonly files = new Map<string, MemoryPieceFile>()
  readonly suspected: Digest[] = []
  room = true
  /** Changes what is read of blobs, as a bad disk would, or a node that lies. */
  spoil: (bytes: Buffer, start: number) => Buffer = bytes => bytes
  #waiting: { readonly digest: Digest; readonly resolve: () => void }[] = []

  stat(digest: Digest) {
    const blob = this.blobs.get(digest)
    return blob && { sizeBytes: blob.length }
  }

  async open(name: string, shape: PieceShape): Promise<PieceFile> {
    const left = this.files.get(name)
    const file = left ?? new MemoryPieceFile(shape)
    file.onOver = () => this.files.delete(name)
    file.onBlob = (digest, bytes) => this.hold(digest, bytes)
    this.files.set(name, file)
    return file
  }

  async hasPieces(name: string): Promise<boolean> {
    return this.files.has(name)
  }

  async readBlob(digest: Digest, start: number, end: number): Promise<Readable> {
    const blob = this.blobs.get(digest)
    if (blob === undefined) throw new StarlingError('BLOB_UNKNOWN', 'gone')
    return Readable.from([this.spoil(Buffer.from(blob.subarray(start, end)), start)])
  }

  readUpload(id: string, start: number, end: number): Readable {
    const upload = this.uploads.get(id)
    if (upload === undefined) throw new StarlingError('BLOB_UPLOAD_UNKNOWN', 'gone')
    return Readable.from([Buffer.from(upload.subarray(start, end))])
  }

  hasRoom(): boolean {
    return this.room
  }

  suspect(digest: Digest): void {
    this.suspected.push(digest)
  }

  hold(digest: Digest, bytes: Buffer): void {
    this.blobs.set(digest, bytes)
    for (const each of this.#waiting) if (each.digest === digest) each.resolve()
  }

  /** Settles when the blob is held. */
  whenHeld(digest: Digest): Promise<void> {
    if (this.blobs.has(digest)) return Promise.resolve()
    return new Promise(resolve => this.#waiting.push({ digest, resolve }))
  }
}

/** Pieces in memory. */
export class MemoryPieceFile implements PieceFile {
  readonly pieces = new Map<number, Buffer>()
  onOver = () => {}
  onBlob = (_digest: Digest, _bytes: Buffer) => {}
  readonly #pieceBytes: number
  #sizeBytes: number | undefined

  constructor({ pieceBytes, sizeBytes }: PieceShape) {
    this.#pieceBytes = pieceBytes
    this.#sizeBytes = sizeBytes
  }

  *held(): Iterable<readonly [number, Uint8Array]> {
    for (const [piece, bytes] of this.pieces) yield [piece, hash('sha256', bytes, 'buffer')]
  }

  async write(piece: number, bytes: Uint8Array): Promise<void> {
    this.pieces.set(piece, Buffer.from(bytes))
  }

  read(piece: number): Readable {
    const bytes = this.pieces.get(piece)
    if (bytes === undefined) throw new StarlingError('BLOB_UNKNOWN', 'no such piece')
    return Readable.from([bytes])
  }

  async setSize(sizeBytes: number): Promise<void> {
    this.#sizeBytes = sizeBytes
  }

  async commit(digest: Digest): Promise<{ readonly sizeBytes: number }> {
    const count = Math.ceil((this.#sizeBytes ?? 0) / this.#pieceBytes)
    const pieces = Array.from({ length: count }, (_, piece) => this.pieces.get(piece))
    const bytes = Buffer.concat(pieces.map(piece => piece ?? Buffer.alloc(0)))
    if (digestOf(bytes) !== digest) throw new StarlingError('DIGEST_INVALID', 'another blob')
    this.onBlob(digest, bytes)
    this.onOver()
    return { sizeBytes: bytes.length }
  }

  async drop(piece: number): Promise<void> {
    this.pieces.delete(piece)
  }

  follow(): Readable {
    return Readable.from([])
  }

  async close(): Promise<void> {}

  async discard(): Promise<void> {
    this.onOver()
  }
}
