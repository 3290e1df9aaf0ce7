import { type GossipSub, gossipsub, StrictSign } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { ConnectionProtector, Libp2p, PrivateKey } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { createLibp2p } from 'libp2p'
import { withDeadline } from '../deadline.ts'
import { type Address, fromMultiaddr, isIp, toMultiaddr } from './address.ts'
import type { DialOutcome } from './discovery.ts'
import { TOPIC } from './gossip.ts'
import { thriftyYamux } from './muxer.ts'
import { HANDSHAKE_TIMEOUT_MS } from './protector.ts'

export interface NodeOptions {
  readonly privateKey: PrivateKey
  readonly listen: Address
  readonly protector: ConnectionProtector
  readonly mdns: boolean
}

export type MeshServices = { gossip: GossipSub }
export type MeshNode = Libp2p<MeshServices>

/** Nodes of a cluster, twice over while both ends dial at once. The default of 300 is for strangers. */
const MAX_CONNECTIONS = 2_048

/** Connections in their handshake; each lasts a few seconds at most. A roll-out brings all nodes at once. */
const MAX_PENDING_INBOUND = 512

/** Per second and source address. Pods behind one NAT, or a whole cluster on one machine, share theirs. */
const MAX_INBOUND_PER_SECOND = 1_000

/** Dialling, the handshake of the secret, Noise and yamux. */
const UPGRADE_TIMEOUT_MS = 2 * HANDSHAKE_TIMEOUT_MS

/** Control messages only: a megabyte in flight per stream is plenty, and a pause may hold twice that. */
const STREAM_WINDOW_BYTES = 1024 * 1024
const MAX_STREAM_BUFFER_BYTES = 4 * STREAM_WINDOW_BYTES

/** Sixty-four of the longest messages. */
const MAX_GOSSIP_FRAME_BYTES = 4 * 1024 * 1024

const MAX_STREAMS_PER_CONNECTION = 512
const MDNS_SERVICE = '_starling._udp.local'

/** A libp2p node for a private cluster, not started. Nothing is dialled but what we dial. */
export function createNode(options: NodeOptions): Promise<MeshNode> {
  return createLibp2p<MeshServices & { identify: unknown; ping: unknown }>({
    start: false,
    privateKey: options.privateKey,
    nodeInfo: { name: 'starling', version: '1', userAgent: 'starling/1' },
    addresses: { listen: [listenMultiaddr(options.listen)] },
    transports: [tcp()],
    connectionProtector: () => options.protector,
    connectionEncrypters: [noise()],
    streamMuxers: [
      thriftyYamux({
        maxInboundStreams: MAX_STREAMS_PER_CONNECTION,
        maxOutboundStreams: MAX_STREAMS_PER_CONNECTION,
        streamOptions: {
          maxStreamWindowSize: STREAM_WINDOW_BYTES,
          maxReadBufferLength: 2 * STREAM_WINDOW_BYTES,
          maxWriteBufferLength: MAX_STREAM_BUFFER_BYTES
        }
      })
    ],
    // The default gater refuses private addresses for some transports; a cluster has little else.
    connectionGater: { denyDialMultiaddr: () => false },
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      maxIncomingPendingConnections: MAX_PENDING_INBOUND,
      inboundConnectionThreshold: MAX_INBOUND_PER_SECOND,
      inboundUpgradeTimeout: UPGRADE_TIMEOUT_MS,
      addressDialTimeout: UPGRADE_TIMEOUT_MS,
      // Our own dial loop redials, for ever; libp2p's gives up.
      reconnectRetries: 0
    },
    // Heartbeats find silent connections; a second probe would cut healthy ones while we are busy.
    connectionMonitor: { enabled: false },
    ...(options.mdns ? { peerDiscovery: [mdns({ serviceTag: MDNS_SERVICE })] } : {}),
    services: { identify: identify(), ping: ping(), gossip: gossipsub(gossipOptions()) }
  })
}

/** Dials an IP address, whoever may be there; ends within some seconds. */
export async function dial(
  node: MeshNode,
  address: Address,
  closing: AbortSignal
): Promise<DialOutcome> {
  try {
    const signal = withDeadline(UPGRADE_TIMEOUT_MS, closing)
    const connection = await node.dial(toMultiaddr(address), { signal })
    return { kind: 'peer', id: connection.remotePeer.toString() }
  } catch (error) {
    // libp2p learns in the handshake whom it reached, and refuses itself by this error.
    const self = error instanceof Error && error.name === 'InvalidPeerIdError'
    return self ? { kind: 'self' } : { kind: 'failed', error }
  }
}

/** The port that a started node listens on. */
export function listeningPort(node: MeshNode): number | undefined {
  return node.getMultiaddrs().flatMap(address => fromMultiaddr(address)?.port ?? [])[0]
}

function gossipOptions(): Parameters<typeof gossipsub>[0] {
  return {
    globalSignaturePolicy: StrictSign,
    // A single node may publish: there is nobody to miss it.
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    fallbackToFloodsub: false,
    emitSelf: false,
    doPX: false,
    // The first hop reaches every connected node, so a full mesh needs no second one.
    floodPublish: true,
    batchPublish: true,
    D: 8,
    Dlo: 6,
    Dhi: 12,
    Dlazy: 6,
    allowedTopics: [TOPIC],
    // Bounds a frame, which may hold many messages; the validator bounds each. A frame beyond it would
    // end the stream, and gossipsub opens no other while the connection lives.
    maxInboundDataLength: MAX_GOSSIP_FRAME_BYTES,
    maxOutboundBufferSize: MAX_GOSSIP_FRAME_BYTES,
    // Members hold the secret; scoring would grey-list those that share an address (from the
    // eleventh on) and those that were away.
    scoreParams: {
      IPColocationFactorWeight: 0,
      behaviourPenaltyWeight: 0,
      appSpecificScore: () => 0
    }
  }
}

function listenMultiaddr({ host, port }: Address): string {
  return isIp(host) ? toMultiaddr({ host, port }).toString() : `/dns/${host}/tcp/${port}`
}
