import type { TestContext } from 'node:test'
import { type DownloadOptions, download, type Outcome } from '../../src/swarm/download.ts'
import type { Holder } from '../../src/swarm/fetcher.ts'
import {
  type Blob,
  type MemorySink,
  makeBlob,
  memorySource,
  openFetcher,
  rightHead,
  startHolder,
  startRogue
} from './peers.ts'

const MiB = 1024 * 1024

/** What every download is of, unless a test says otherwise. */
export const blob = makeBlob(3 * MiB)

/** Small enough for a test, long enough for a busy machine to give an honest holder its turn. */
const STALL = { stallTimeoutMs: 1_000, stallBytes: 1024 }
const LIMITS = { alone: STALL, oneOfSeveral: STALL }

/** Downloads from the holders in this order, each again as long as it is not excluded. */
export function run(
  t: TestContext,
  holders: readonly Holder[],
  sink: MemorySink,
  options: Partial<DownloadOptions> = {}
) {
  const fetcher = openFetcher(t)
  return download({
    digest: blob.digest,
    sink,
    fetcher,
    nextHolder: excluded => holders.find(({ id }) => !excluded.has(id)),
    signal: t.signal,
    limits: LIMITS,
    ...options
  })
}

/** Who gave what, in words that a test compares. */
export function brief(outcomes: readonly Outcome[]): string[] {
  return outcomes.map(({ holder, outcome }) => `${holder.name} ${outcome}`)
}

/** A holder of these blobs, or of {@link blob}, that does all right. */
export async function startHonest(t: TestContext, name = 'honest', ...blobs: readonly Blob[]) {
  const node = await startHolder(name, memorySource(...(blobs.length > 0 ? blobs : [blob])))
  t.after(() => node[Symbol.asyncDispose]())
  return node
}

/** A holder that answers as the test says. */
export async function startBad(t: TestContext, ...[name, answer]: Parameters<typeof startRogue>) {
  const rogue = await startRogue(name, answer)
  t.after(() => rogue[Symbol.asyncDispose]())
  return rogue
}

/** Answers rightly, with other bytes, up to a byte of the blob. */
export async function startLiar(
  t: TestContext,
  name: string,
  until: number,
  wrong = tampered(blob)
) {
  const rogue = await startRogue(name, (request, socket) => {
    const { head, start } = rightHead(request, blob.bytes.length)
    socket.write(head)
    socket.write(wrong.subarray(start, until))
    if (until < wrong.length) socket.end()
  })
  t.after(() => rogue[Symbol.asyncDispose]())
  return rogue
}

/** The bytes of a blob with one bit turned, near the start. */
export function tampered({ bytes }: Blob): Buffer {
  const wrong = Buffer.from(bytes)
  wrong.writeUInt8(wrong.readUInt8(100) ^ 1, 100)
  return wrong
}
