import type { Disk, DiskFile } from './disk.ts'

/** What must be as it was for the pieces on disk to be of any use. */
export interface PieceShape {
  readonly pieceBytes: number
  /** Unknown while the blob still grows somewhere. */
  readonly sizeBytes: number | undefined
}

/** First bytes of the file, with the version of its format. */
const MAGIC = Buffer.from('starling pieces 1\n')
const HEADER_BYTES = MAGIC.length + 4 + 8
const SIZE_AT = MAGIC.length + 4
const UNKNOWN_SIZE = 0xffff_ffff_ffff_ffffn

/** A piece, counted from 1 since a power cut may leave zeros, and the SHA-256 of its bytes. */
const ENTRY_BYTES = 4 + 32

/** In place of a hash: the piece is not held any more. */
const DROPPED = Buffer.alloc(32)

/**
 * Which pieces a file of pieces says it holds, in a file beside it: a header and one entry for each
 * piece as it comes, the last one of a piece being right. Nobody takes its word: who opens the
 * pieces again hashes them first, so entries that are lost, torn or early cost a piece at most.
 */
export class PieceClaims {
  readonly #file: DiskFile
  #endBytes: number

  /** What the file says; `undefined` when it is absent, unreadable or of other pieces. */
  static async read(file: DiskFile, shape: PieceShape): Promise<Map<number, Buffer> | undefined> {
    const { sizeBytes } = await file.stat()
    const bytes = Buffer.alloc(sizeBytes)
    await file.read(bytes, 0)
    if (!bytes.subarray(0, HEADER_BYTES).equals(headerOf(shape))) return undefined
    const claims = new Map<number, Buffer>()
    for (let at = HEADER_BYTES; at + ENTRY_BYTES <= bytes.length; at += ENTRY_BYTES) {
      const piece = bytes.readUInt32BE(at) - 1
      const hash = bytes.subarray(at + 4, at + ENTRY_BYTES)
      if (hash.equals(DROPPED)) claims.delete(piece)
      else if (piece >= 0) claims.set(piece, hash)
    }
    return claims
  }

  /** Opens the file, made anew with these claims. */
  static async write(
    disk: Disk,
    path: string,
    shape: PieceShape,
    held: ReadonlyMap<number, Buffer>
  ): Promise<PieceClaims> {
    await disk.remove(path)
    const file = await disk.openFile(path)
    const entries = [...held].map(([piece, hash]) => entryOf(piece, hash))
    try {
      await file.write([headerOf(shape), ...entries], 0)
    } catch (error) {
      await file.close()
      throw error
    }
    return new PieceClaims(file, HEADER_BYTES + entries.length * ENTRY_BYTES)
  }

  private constructor(file: DiskFile, endBytes: number) {
    this.#file = file
    this.#endBytes = endBytes
  }

  add(piece: number, hash: Uint8Array): Promise<void> {
    const at = this.#endBytes
    this.#endBytes += ENTRY_BYTES
    return this.#file.write([entryOf(piece, hash)], at)
  }

  drop(piece: number): Promise<void> {
    return this.add(piece, DROPPED)
  }

  setSize(sizeBytes: number): Promise<void> {
    return this.#file.write([sizeField(sizeBytes)], SIZE_AT)
  }

  datasync(): Promise<void> {
    return this.#file.datasync()
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

function headerOf({ pieceBytes, sizeBytes }: PieceShape): Buffer {
  const piece = Buffer.alloc(4)
  piece.writeUInt32BE(pieceBytes)
  return Buffer.concat([MAGIC, piece, sizeField(sizeBytes)])
}

function sizeField(sizeBytes: number | undefined): Buffer {
  const field = Buffer.alloc(8)
  field.writeBigUInt64BE(sizeBytes === undefined ? UNKNOWN_SIZE : BigInt(sizeBytes))
  return field
}

function entryOf(piece: number, hash: Uint8Array): Buffer {
  const entry = Buffer.alloc(ENTRY_BYTES)
  entry.writeUInt32BE(piece + 1)
  entry.set(hash, 4)
  return entry
}
