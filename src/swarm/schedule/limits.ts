const MiB = 1024 * 1024

/** What bounds a scheduler. The defaults were chosen in the simulator; a node may lower them. */
export interface Limits {
  /** Pieces asked of one neighbour at once, over all blobs: at the start, and at most. */
  readonly startWindow: number
  readonly maxWindow: number
  /**
   * Pieces and bytes asked for at once for one blob, and bytes for the whole node. At 8 pieces some
   * nodes end late for want of choice, at 16 the queues make fresh pieces spread late.
   */
  readonly blobPieces: number
  readonly blobBytes: number
  readonly nodeBytes: number
  /** Blobs fetched at once: the oldest finish first, instead of all crawling. */
  readonly activeBlobs: number
  /**
   * Pieces on their way to neighbours at once; one to a slow neighbour counts for less. Fewer pass
   * each on sooner but leave the link idle whenever their receivers are busy: with 2 it is 75 %
   * used, with 4 it is 90 %, with 12 it is 99 % (simulated).
   */
  readonly uploadWeight: number
  readonly uploadStreams: number
  /** Requests that wait for a turn; whoever asks beyond it is told to come back. */
  readonly uploadQueue: number
  /** Pieces offered to one neighbour and not yet seen there. */
  readonly offerWindow: number
  /**
   * When waiting announcements are sent: this old, if no neighbour has the piece; else this old; or
   * this many. A message costs a third of a millisecond at either end, whatever is in it. With 4, 6
   * and 8 pieces at once a thousand nodes at 1 Gbit/s reach 0.96, 0.93 and 0.92 of the bound
   * (`bench simulate`), and eight real ones on two processors need less of these the more there are
   * (`bench replicate`).
   */
  readonly announceMs: number
  readonly announceLateMs: number
  readonly announcePieces: number
  /** How often deadlines are looked at. */
  readonly tickMs: number
}

export const DEFAULT_LIMITS: Limits = {
  startWindow: 2,
  maxWindow: 4,
  blobPieces: 10,
  blobBytes: 80 * MiB,
  nodeBytes: 128 * MiB,
  activeBlobs: 6,
  uploadWeight: 12,
  uploadStreams: 16,
  uploadQueue: 64,
  offerWindow: 2,
  announceMs: 10,
  announceLateMs: 150,
  announcePieces: 6,
  tickMs: 100
}
