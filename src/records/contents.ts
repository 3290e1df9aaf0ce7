import { crc32 } from 'node:zlib'
import { Fingerprint } from './fingerprint.ts'
import { isForgettable } from './horizon.ts'
import { decodeRecord, idBytes, peekRecord, recordId } from './record.ts'
import { type RegisterName, registerName, splitHeads } from './register.ts'
import { isReadable } from './values.ts'

/** What an index holds, summed up in constant memory and kept up to date with each change. */
export class Contents {
  readonly fingerprint = new Fingerprint()
  /** Heads of kinds or versions that this version cannot read. */
  unreadable = 0

  /** Counts a stored record in or out. */
  add(bytes: Uint8Array, kind: string, version: number, id: Uint8Array): void {
    this.fingerprint.add(id, bytes.length)
    if (!isReadable(version, kind)) this.unreadable++
  }

  remove(bytes: Uint8Array, kind: string, version: number, id: Uint8Array): void {
    this.fingerprint.remove(id, bytes.length)
    if (!isReadable(version, kind)) this.unreadable--
  }
}

/** Thrown by {@link readContents}: what is stored contradicts itself. */
export class UnsoundIndex extends Error {}

/**
 * Reads all of an index and checks it against itself. LevelDB does not verify its checksums when
 * it reads, so a flipped bit may come back as data: every record is hashed again, must lie in its
 * own register, and must be found by its id.
 */
export async function readContents(
  registers: AsyncIterable<[RegisterName, Buffer]>,
  ids: AsyncIterable<[Buffer, RegisterName]>,
  tombstones: AsyncIterable<Buffer>
): Promise<Contents> {
  const contents = new Contents()
  let owners = 0
  let dead = 0
  for await (const [name, stored] of registers) {
    for (const bytes of splitHeads(stored)) {
      const { kind, key, version } = peekRecord(bytes)
      if (registerName({ kind, key }) !== name)
        throw new UnsoundIndex('a record of another register')
      const id = idBytes(recordId(bytes))
      contents.add(bytes, kind, version, id)
      owners = (owners + ownerChecksum(id, name)) % 2 ** 32
      if (isTombstone(bytes)) dead = (dead + crc32(id)) % 2 ** 32
    }
  }
  const listed = new Fingerprint(0)
  for await (const [id, name] of ids) {
    listed.add(id, 0)
    owners = (owners - ownerChecksum(id, name) + 2 ** 32) % 2 ** 32
  }
  for await (const id of tombstones) dead = (dead - crc32(id) + 2 ** 32) % 2 ** 32
  if (dead !== 0) throw new UnsoundIndex('the tombstones are not those of the records')
  if (listed.root().hash !== contents.fingerprint.root().hash || owners !== 0) {
    throw new UnsoundIndex('the ids are not those of the records')
  }
  return contents
}

/** Few records are, and most can be told by a look for the word. */
function isTombstone(bytes: Buffer): boolean {
  return bytes.includes('deleted') && isForgettable(decodeRecord(bytes))
}

function ownerChecksum(id: Uint8Array, name: RegisterName): number {
  return crc32(name, crc32(id))
}
