import type { Digest } from '../digest.ts'
import { MAX_MANIFEST_BYTES } from '../manifest.ts'
import type { Urgency } from '../swarm/schedule/messages.ts'
import type { DiskWatch } from './disk-space.ts'
import type { Download } from './download.ts'
import type { Downloads } from './downloads.ts'
import type { Graph } from './graph.ts'

/** Downloads for which there is room, as far as the size of what comes is known. */
export class Intake {
  readonly #downloads: Pick<Downloads, 'start' | 'get'>
  readonly #graph: Pick<Graph, 'sizeBytes' | 'manifestType'>
  readonly #disk: Pick<DiskWatch, 'space' | 'freeBytes' | 'claim'>

  constructor(options: {
    readonly downloads: Pick<Downloads, 'start' | 'get'>
    readonly graph: Pick<Graph, 'sizeBytes' | 'manifestType'>
    readonly disk: Pick<DiskWatch, 'space' | 'freeBytes' | 'claim'>
  }) {
    this.#downloads = options.downloads
    this.#graph = options.graph
    this.#disk = options.disk
  }

  /** Whether a blob that is not here could be kept. */
  fits(digest: Digest): boolean {
    if (this.#downloads.get(digest) !== undefined) return true
    const { state } = this.#disk.space()
    return state === 'ok' && this.#disk.freeBytes() >= Math.max(1, this.#expected(digest))
  }

  /** Begins to fetch a blob, with room promised to it, or joins who does already. */
  start(digest: Digest, urgency?: Urgency): Download {
    const isRunning = this.#downloads.get(digest) !== undefined
    const download = this.#downloads.start(digest, urgency)
    if (isRunning) return download
    const expectedBytes = this.#expected(digest)
    const release = this.#disk.claim('copy', () =>
      Math.max(0, (download.sizeBytes ?? expectedBytes) - download.doneBytes)
    )
    download.done.then(release, release)
    return download
  }

  /** The largest a manifest can be, and nothing for what no manifest or lease gives a size. */
  #expected(digest: Digest): number {
    const sizeBytes = this.#graph.sizeBytes(digest)
    if (sizeBytes !== undefined) return sizeBytes
    return this.#graph.manifestType(digest) === undefined ? 0 : MAX_MANIFEST_BYTES
  }
}
