import type { Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { StarlingError } from '../../errors.ts'

/** Formats that `file` knows by how they begin. */
const MAGIC = {
  gzip: Buffer.from([0x1f, 0x8b]),
  zstd: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
  xz: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a]),
  bzip2: Buffer.from('BZh')
} as const

export type Compression = keyof typeof MAGIC

/** So many bytes tell every compression. */
export const MAGIC_BYTES = 5

/** How bytes that begin so are compressed; `undefined`: not, or in a way that nobody here knows. */
export function compressionOf(head: Buffer): Compression | undefined {
  const names = Object.keys(MAGIC) as Compression[]
  return names.find(name => head.subarray(0, MAGIC[name].length).equals(MAGIC[name]))
}

/** What unpacks it. Throws `CONFIG_INVALID` for what Node.js cannot. */
export function decompressor(compression: Compression, where: string): Transform {
  switch (compression) {
    case 'gzip':
      return createGunzip()
    case 'zstd':
      return createZstdDecompress()
    default: {
      const way = `unpack it first, or pipe it: ${compression} -dc FILE | starling import -`
      throw new StarlingError(
        'CONFIG_INVALID',
        `${where} is compressed with ${compression}: ${way}`
      )
    }
  }
}
