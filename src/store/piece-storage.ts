import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { StarlingError } from '../errors.ts'
import type { Disk, DiskFile } from './disk.ts'
import { PieceClaims, type PieceShape } from './piece-claims.ts'

export interface PiecePlace {
  readonly disk: Disk
  readonly directory: string
  readonly name: string
}

/** No partial file of another kind is called so. */
export const PIECES_PREFIX = 'pieces-'

/** Beside the pieces lies what they claim to be. */
export const CLAIMS_SUFFIX = '.claims'

/** The two files on disk behind a blob that comes in pieces: its bytes, and which of them are sound. */
export class PieceStorage {
  readonly path: string
  readonly #place: PiecePlace
  readonly #file: DiskFile
  readonly #claims: PieceClaims
  #isNameDurable = false

  /**
   * Opens the pieces left from before, each of which is read and hashed again, at about 1 GB/s; or
   * begins anew when those are of another shape. Gives the pieces held, with their SHA-256.
   */
  static async open(
    place: PiecePlace,
    shape: PieceShape,
    signal: AbortSignal | undefined
  ): Promise<{ readonly storage: PieceStorage; readonly held: Map<number, Buffer> }> {
    const { disk } = place
    const path = pathOf(place)
    const claimed = await claimedAt(disk, path, shape)
    if (claimed === undefined) await disk.remove(path)
    const file = await disk.openFile(path)
    try {
      const held = await soundPieces(file, claimed ?? new Map(), shape, signal)
      const claims = await PieceClaims.write(disk, claimsOf(path), shape, held)
      return { storage: new PieceStorage(place, file, claims), held }
    } catch (error) {
      await file.close()
      throw error
    }
  }

  private constructor(place: PiecePlace, file: DiskFile, claims: PieceClaims) {
    this.path = pathOf(place)
    this.#place = place
    this.#file = file
    this.#claims = claims
  }

  /** Bytes before the claim, so that a process that dies leaves no false one. */
  async write(piece: number, start: number, bytes: Uint8Array, hash: Uint8Array): Promise<void> {
    await this.#file.write([bytes], start)
    await this.#claims.add(piece, hash)
  }

  /** Fills the buffer. Throws `DISK_FAILED` when the file is too short. */
  async read(buffer: Uint8Array, position: number): Promise<void> {
    if ((await this.#file.read(buffer, position)) === buffer.length) return
    throw new StarlingError('DISK_FAILED', `${this.path} was cut short`)
  }

  drop(piece: number): Promise<void> {
    return this.#claims.drop(piece)
  }

  setSize(sizeBytes: number): Promise<void> {
    return this.#claims.setSize(sizeBytes)
  }

  /** Makes the bytes durable. A failure is final. */
  syncBytes(): Promise<void> {
    return this.#file.datasync()
  }

  /** Makes the bytes durable, then the claims and the names, so that a power cut spares them. */
  async sync(): Promise<void> {
    await this.syncBytes()
    await this.#claims.datasync()
    if (this.#isNameDurable) return
    this.#isNameDurable = true
    await this.#place.disk.syncDirectory(this.#place.directory)
  }

  async remove(): Promise<void> {
    await removePieces(this.#place)
  }

  /** Lets the claims go; {@link close} is for when nobody reads the bytes any more. */
  async removeClaims(): Promise<void> {
    await this.#place.disk.remove(claimsOf(this.path))
  }

  /** The claims are not written to any more. */
  closeClaims(): Promise<void> {
    return this.#claims.close()
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

/** Removes both files, if they are there. */
export async function removePieces(place: PiecePlace): Promise<void> {
  await place.disk.remove(pathOf(place))
  await place.disk.remove(claimsOf(pathOf(place)))
}

function pathOf({ directory, name }: Pick<PiecePlace, 'directory' | 'name'>): string {
  return join(directory, `${PIECES_PREFIX}${name}`)
}

function claimsOf(path: string): string {
  return `${path}${CLAIMS_SUFFIX}`
}

async function claimedAt(
  disk: Disk,
  path: string,
  shape: PieceShape
): Promise<ReadonlyMap<number, Buffer> | undefined> {
  if (await isShared(disk, path)) return undefined
  const file = await disk.openFile(claimsOf(path))
  try {
    return await PieceClaims.read(file, shape)
  } finally {
    await file.close()
  }
}

/**
 * Whether the file has a second name: then a power cut came between the two halves of a rename, the
 * other name is a blob, and writing here would change it.
 */
async function isShared(disk: Disk, path: string): Promise<boolean> {
  const file = await disk.openFile(path)
  try {
    return (await file.stat()).links > 1
  } finally {
    await file.close()
  }
}

async function soundPieces(
  file: DiskFile,
  claimed: ReadonlyMap<number, Buffer>,
  { pieceBytes, sizeBytes = Number.POSITIVE_INFINITY }: PieceShape,
  signal: AbortSignal | undefined
): Promise<Map<number, Buffer>> {
  const held = new Map<number, Buffer>()
  if (claimed.size === 0) return held
  const buffer = Buffer.allocUnsafeSlow(pieceBytes)
  for (const [piece, hash] of claimed) {
    signal?.throwIfAborted()
    const start = piece * pieceBytes
    const bytes = buffer.subarray(0, Math.min(pieceBytes, Math.max(0, sizeBytes - start)))
    if (bytes.length === 0 || (await file.read(bytes, start)) < bytes.length) continue
    if (hash.equals(createHash('sha256').update(bytes).digest())) held.set(piece, hash)
  }
  return held
}
