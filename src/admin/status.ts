import type { Digest } from '../digest.ts'

/** What `GET /status` answers, and what the `status` command prints. */
export interface StatusDocument {
  readonly node: NodeStatus
  readonly ready: boolean
  /** Why the node is not ready, or that it is, in words. */
  readonly reason: string
  /** The members of the cluster except this one. */
  readonly peers: readonly PeerStatus[]
  /** Addresses this node dials where somebody answers and does not let it in, each until it does. */
  readonly refusedBy: readonly RefusedStatus[]
  /** How many members not gone should hold every image, this one included. */
  readonly holders: number
  readonly blobs: BlobsStatus
  /** One page, by repository and then tag, in byte order. */
  readonly images: readonly ImageStatus[]
  readonly transfers: readonly TransferStatus[]
  readonly disk: DiskStatus
  /** Images acknowledged with fewer copies than asked for, until they have them. */
  readonly degraded: readonly DegradedImage[]
  /** Records of the last ten minutes were stamped so far ahead of this node's clock; `null`: none. */
  readonly drift: { readonly seconds: number; readonly node: string } | null
  readonly lost: LostStatus
}

/** What no node that can be reached has whole. */
export interface LostStatus {
  readonly images: readonly LostImage[]
  /** Names of members that are away, and may have it; if there are none it is lost for good. */
  readonly mayHave: readonly string[]
}

export interface LostImage {
  readonly repository: string
  /** `null` when no tag points at it. */
  readonly tag: string | null
  readonly digest: Digest
  /** What nobody has. */
  readonly blobs: readonly Digest[]
}

export interface NodeStatus {
  readonly id: string
  readonly name: string
  readonly version: string
  readonly uptimeSeconds: number
}

export type PeerState = 'live' | 'away' | 'gone'

export interface PeerStatus {
  readonly id: string
  readonly name: string
  /** `host:port` of its mesh. */
  readonly address: string
  readonly state: PeerState
  /** Whether there is a connection to it; a live peer may also be heard through others. */
  readonly connected: boolean
  /** Blobs it should hold and does not; `null` when that is not known. */
  readonly missing: number | null
}

export interface RefusedStatus {
  /** `host:port` of a mesh. */
  readonly address: string
  /** Why, in words. */
  readonly reason: string
}

export interface BlobsStatus {
  readonly held: number
  readonly missing: number
  readonly bytesHeld: number
}

export interface ImageStatus {
  readonly repository: string
  readonly tag: string
  readonly digest: Digest
  /** Of the manifest and all it reaches; `null` while the manifest is not held here. */
  readonly bytes: number | null
  /** Live members, this one included, known to hold all of it; `null` when none can be judged. */
  readonly copies: number | null
}

export interface DegradedImage extends Omit<ImageStatus, 'tag'> {
  /** `null` for what was pushed by digest alone. */
  readonly tag: string | null
}

export interface TransferStatus {
  readonly digest: Digest
  /** Size of the blob; `null` before a holder has said it. */
  readonly bytes: number | null
  readonly done: number
  /** Names of the nodes it comes from. */
  readonly from: readonly string[]
}

/** The file system that the data directory is on. */
export interface DiskStatus {
  readonly totalBytes: number
  readonly usedBytes: number
  /** Above it no blob is taken in. */
  readonly limitBytes: number
  readonly state: 'ok' | 'full' | 'failed'
}

/** What `GET /copies` answers: who holds an image, for the `wait` command. */
export interface CopiesDocument {
  /** As asked: `repository:tag` or `repository@digest`. */
  readonly reference: string
  /** The manifest's digest; `null` while this node knows no such image. */
  readonly digest: Digest | null
  /** Every member that should hold it, this node included and those gone left out. */
  readonly nodes: readonly NodeCopy[]
}

export interface NodeCopy {
  readonly id: string
  readonly name: string
  readonly state: 'live' | 'away'
  /** Whether it holds the whole image; `null` when that is not known. */
  readonly holds: boolean | null
  /** What of the image it says it misses; empty when it holds all, or has not said. */
  readonly missing: readonly Digest[]
}
