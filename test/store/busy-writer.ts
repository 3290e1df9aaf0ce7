// Writes blobs until it is killed, and says each digest that it was told is held.
import { digestOf } from '../../src/digest.ts'
import { silentLog } from '../../src/log.ts'
import { Blobs } from '../../src/store/blobs.ts'
import { someBytes } from './scratch.ts'

const [dataDir = '', seed = '1'] = process.argv.slice(2)
const blobs = await Blobs.open({ dataDir, log: silentLog })
for (let round = 0; ; round += 1) {
  const bytes = someBytes(500_000, Number(seed) * 10_000 + round)
  const partial = await blobs.partial(`blob-${seed}-${round}`, 'sha256')
  for (let at = 0; at < bytes.length; at += 50_000) {
    await partial.append(bytes.subarray(at, at + 50_000))
  }
  await partial.commit(digestOf(bytes))
  process.send?.(digestOf(bytes))
}
