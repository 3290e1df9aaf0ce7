import { Bits } from './bits.ts'
import type { BlobStart, Urgency } from './messages.ts'
import type { Peer } from './peer.ts'

/** A request for a piece that has not been answered in full. */
export interface Request {
  readonly peer: Peer
  /** Whether the neighbour had offered the piece to us. */
  readonly isClaim: boolean
  readonly askedMs: number
  deadlineMs: number
  /** When its first byte came. */
  startedMs: number | undefined
}

/** What a neighbour and this node know of each other about one blob. */
export interface Link {
  readonly peer: Peer
  readonly have: Bits
  /** Pieces it offered to us, oldest first. */
  readonly offers: number[]
  /** Pieces to announce to it. */
  readonly news: number[]
  /** Pieces we offered to it that have not left, and those that it has not announced. */
  unsent: number
  unseen: number
  /** How many offers it was late for, and until when it is offered nothing because of that. */
  missed: number
  asideUntilMs: number
}

/** A piece offered to one neighbour. */
export interface Offer {
  readonly link: Link
  readonly sinceMs: number
  /** Whether it has left for that neighbour. */
  sent: boolean
}

/** The part that this node plays in spreading one blob. */
export interface Swarm {
  readonly blob: string
  /** Whether its pieces come from neighbours, or from a push to this node. */
  readonly role: 'fetch' | 'ingest'
  sizeBytes: number
  readonly pieceBytes: number
  readonly held: Bits
  /** Held but not announced: while it is the only source, a piece goes to one neighbour first. */
  readonly hidden: Bits
  /** How many neighbours have each piece. */
  readonly copies: Uint8Array
  /** Pieces asked for; each is a key of `requests`. */
  readonly asked: Bits
  readonly requests: Map<number, Request[]>
  /** How many of the requests are for pieces offered to us. */
  claims: number
  readonly links: Map<string, Link>
  readonly offered: Map<number, Offer>
  /** Mean time from an offer to the announcement of the piece, in milliseconds. */
  passMs: number | undefined
  urgency: Urgency
  readonly order: number
  /** First piece that a client still waits for. */
  cursor: number
  /** When the announcements that wait are to leave. */
  newsDueMs: number | undefined
}

/** A blob to fetch; what is here already is announced like anything else. */
export function fetchSwarm(start: BlobStart, urgency: Urgency, order: number): Swarm {
  return newSwarm('fetch', start, new Bits(start.pieceCount), urgency, order)
}

/** A blob that comes here, or came, by a push: this node may be the only one that has it. */
export function ingestSwarm(start: BlobStart): Swarm {
  return newSwarm('ingest', start, start.held.copy(), 'background', 0)
}

function newSwarm(
  role: Swarm['role'],
  start: BlobStart,
  hidden: Bits,
  urgency: Urgency,
  order: number
): Swarm {
  const { blob, sizeBytes, pieceBytes, pieceCount } = start
  return {
    blob,
    role,
    sizeBytes,
    pieceBytes,
    held: start.held.copy(),
    hidden,
    copies: new Uint8Array(pieceCount),
    asked: new Bits(pieceCount),
    requests: new Map(),
    claims: 0,
    links: new Map(),
    offered: new Map(),
    passMs: undefined,
    urgency,
    order,
    cursor: 0,
    newsDueMs: undefined
  }
}

/** Cuts a blob that was begun with more pieces than it has. */
export function truncate(swarm: Swarm, sizeBytes: number, pieceCount: number): void {
  swarm.sizeBytes = sizeBytes
  for (const [piece, offer] of [...swarm.offered]) {
    if (piece >= pieceCount) endOffer(swarm, piece, offer)
  }
  for (const { have } of swarm.links.values()) have.shrink(pieceCount)
  for (const bits of [swarm.held, swarm.hidden, swarm.asked]) bits.shrink(pieceCount)
}

/** The link to a neighbour, made when it is not there yet. */
export function linkTo(swarm: Swarm, peer: Peer): Link {
  const known = swarm.links.get(peer.id)
  if (known !== undefined) return known
  const have = new Bits(swarm.held.length)
  const link: Link = {
    peer,
    have,
    offers: [],
    news: [],
    unsent: 0,
    unseen: 0,
    missed: 0,
    asideUntilMs: 0
  }
  swarm.links.set(peer.id, link)
  return link
}

/** Notes that a neighbour has a piece; whether that is new. */
export function noteHave(swarm: Swarm, link: Link, piece: number): boolean {
  if (!link.have.add(piece)) return false
  swarm.copies[piece] = (swarm.copies[piece] ?? 0) + 1
  return true
}

/** Forgets all that a neighbour has, and what was offered to it. */
export function unlink(swarm: Swarm, link: Link): void {
  for (const piece of link.have) swarm.copies[piece] = (swarm.copies[piece] ?? 1) - 1
  for (const [piece, offer] of swarm.offered) {
    if (offer.link === link) endOffer(swarm, piece, offer)
  }
  swarm.links.delete(link.peer.id)
}

export function endOffer(swarm: Swarm, piece: number, { link, sent }: Offer): void {
  swarm.offered.delete(piece)
  link.unseen--
  if (!sent) link.unsent--
}

/** Takes one request away; the piece can be asked for again when it was the only one. */
export function endRequest(swarm: Swarm, piece: number, peer: Peer): Request | undefined {
  const requests = swarm.requests.get(piece)
  const at = requests?.findIndex(request => request.peer === peer) ?? -1
  if (requests === undefined || at < 0) return undefined
  const [request] = requests.splice(at, 1)
  peer.asked--
  if (request?.isClaim) swarm.claims--
  if (requests.length === 0) {
    swarm.requests.delete(piece)
    swarm.asked.delete(piece)
  }
  return request
}
