import { monitorEventLoopDelay } from 'node:perf_hooks'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/**
 * Every metric of one node, declared once. Counters and histograms are fed where things happen;
 * the gauges are set by whoever knows their value, right before {@link Metrics.text}.
 */
export interface Metrics {
  /** 1 while `/readyz` says 200. */
  readonly ready: Gauge
  readonly peers: Gauge
  readonly blobsHeld: Gauge
  readonly blobsMissing: Gauge
  readonly underReplicatedImages: Gauge
  /** `plane` is one of `registry` (clients), `mesh` (records, heartbeats), `transfer` (blobs). */
  readonly bytesReceived: Counter<'plane'>
  readonly bytesSent: Counter<'plane'>
  /** `direction` is `egress` or `ingress`. */
  readonly throttledSeconds: Counter<'direction'>
  readonly piecesReceived: Counter
  readonly wastedBytes: Counter
  readonly replicationSeconds: Histogram
  /** `state` is `ok`, `full` or `failed`: 1 for the one that the disk is in, 0 for the others. */
  readonly diskState: Gauge<'state'>
  readonly diskUsedBytes: Gauge
  readonly diskLimitBytes: Gauge
  readonly diskFreeBytes: Gauge
  readonly collectionCandidates: Gauge
  readonly collectedBlobs: Counter
  readonly collectedBytes: Counter
  readonly checkedBytes: Counter
  readonly damagedBlobs: Counter
  readonly tagConflicts: Counter
  readonly clockDriftSeconds: Gauge
  /** `route` is the pattern of a path and never the path, of which there are without end. */
  readonly httpRequestSeconds: Histogram<'method' | 'route' | 'status'>
  readonly contentType: string
  /** All of them in the Prometheus text format. */
  text(): Promise<string>
  /** Stops measuring. */
  close(): void
}

/** Metrics with a registry of their own, so that several nodes fit in one process. */
export function openMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const stopLoopDelay = measureLoopDelay(registry)
  collectDefaultMetrics({ register: registry })
  return {
    ready: new Gauge({
      name: 'starling_ready',
      help: 'Whether this node is ready: 1 while /readyz says so, else 0',
      registers
    }),
    peers: new Gauge({
      name: 'starling_peers',
      help: 'Live members of the cluster, without this node',
      registers
    }),
    blobsHeld: new Gauge({
      name: 'starling_blobs_held',
      help: 'Blobs complete, verified and synced on this node',
      registers
    }),
    blobsMissing: new Gauge({
      name: 'starling_blobs_missing',
      help: 'Blobs that should exist on this node and are not held yet',
      registers
    }),
    underReplicatedImages: new Gauge({
      name: 'starling_under_replicated_images',
      help: 'Images that some member is not known to hold in full',
      registers
    }),
    bytesReceived: new Counter({
      name: 'starling_bytes_received_total',
      help: 'Bytes received, by plane',
      labelNames: ['plane'],
      registers
    }),
    bytesSent: new Counter({
      name: 'starling_bytes_sent_total',
      help: 'Bytes sent, by plane',
      labelNames: ['plane'],
      registers
    }),
    throttledSeconds: new Counter({
      name: 'starling_throttled_seconds_total',
      help: 'Time that portions of blobs have waited for a rate limit, by direction',
      labelNames: ['direction'],
      registers
    }),
    piecesReceived: new Counter({
      name: 'starling_pieces_received_total',
      help: 'Pieces of blobs taken from other nodes, verified',
      registers
    }),
    wastedBytes: new Counter({
      name: 'starling_wasted_bytes_total',
      help: 'Bytes of pieces that came and were held by then, or wrong',
      registers
    }),
    replicationSeconds: new Histogram({
      name: 'starling_replication_seconds',
      help: 'From first hearing of a blob to holding it, on the node that receives it',
      buckets: [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000],
      registers
    }),
    diskState: new Gauge({
      name: 'starling_disk_state',
      help: 'State of the disk: 1 for the one it is in, 0 for the others',
      labelNames: ['state'],
      registers
    }),
    diskUsedBytes: new Gauge({
      name: 'starling_disk_used_bytes',
      help: 'Bytes used of the file system that the data is on, whoever uses them',
      registers
    }),
    diskLimitBytes: new Gauge({
      name: 'starling_disk_limit_bytes',
      help: 'Above so many bytes used this node takes in no blob (--max-disk)',
      registers
    }),
    diskFreeBytes: new Gauge({
      name: 'starling_disk_free_bytes',
      help: 'Bytes that this node still takes in: below the limit, and not promised to a push or a copy',
      registers
    }),
    collectionCandidates: new Gauge({
      name: 'starling_collection_candidates',
      help: 'Blobs on this node that nothing calls for any more and that are not removed yet',
      registers
    }),
    collectedBlobs: new Counter({
      name: 'starling_collected_blobs_total',
      help: 'Blobs removed because nothing called for them any more',
      registers
    }),
    collectedBytes: new Counter({
      name: 'starling_collected_bytes_total',
      help: 'Bytes that were freed by removing them',
      registers
    }),
    checkedBytes: new Counter({
      name: 'starling_checked_bytes_total',
      help: 'Bytes of stored blobs that were read again and compared with their digests',
      registers
    }),
    damagedBlobs: new Counter({
      name: 'starling_damaged_blobs_total',
      help: 'Stored blobs found damaged or missing, and fetched again where a peer has them',
      registers
    }),
    tagConflicts: new Counter({
      name: 'starling_tag_conflicts_total',
      help: 'Writes of a tag by a node that did not know of another one, heard of on this node',
      registers
    }),
    clockDriftSeconds: new Gauge({
      name: 'starling_clock_drift_seconds',
      help: 'How far records of the last ten minutes were stamped ahead of this clock; 0 up to 5 minutes',
      registers
    }),
    httpRequestSeconds: new Histogram({
      name: 'starling_http_request_seconds',
      help: 'From a request to the registry to the end of its answer',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100],
      registers
    }),
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: stopLoopDelay
  }
}

/** Counts the bytes of one plane. */
export function byteCounters(
  { bytesReceived, bytesSent }: Pick<Metrics, 'bytesReceived' | 'bytesSent'>,
  plane: 'registry' | 'mesh' | 'transfer'
): Readonly<Record<'received' | 'sent', (bytes: number) => void>> {
  const [received, sent] = [bytesReceived.labels(plane), bytesSent.labels(plane)]
  return { received: bytes => received.inc(bytes), sent: bytes => sent.inc(bytes) }
}

/** Fine enough to see a stall that a heartbeat would feel, coarse enough to cost nothing. */
const LOOP_PERIOD_MS = 10

const LOOP_QUANTILES = [0.5, 0.9, 0.99, 1]

/** Each scrape reads the delays since the one before. */
function measureLoopDelay(registry: Registry): () => void {
  const delays = monitorEventLoopDelay({ resolution: LOOP_PERIOD_MS })
  delays.enable()
  registry.registerMetric(
    new Gauge({
      name: 'starling_event_loop_delay_seconds',
      help: 'How late the event loop came round since the last scrape, by quantile',
      labelNames: ['quantile'],
      registers: [],
      collect() {
        const observed = delays.count > 0
        for (const quantile of LOOP_QUANTILES) {
          // What is recorded is the time between two rounds of a timer, which is its period too.
          const delayMs = observed ? delays.percentile(quantile * 100) / 1e6 - LOOP_PERIOD_MS : 0
          this.set({ quantile: String(quantile) }, Math.max(0, delayMs) / 1_000)
        }
        delays.reset()
      }
    })
  )
  return () => {
    delays.disable()
  }
}
