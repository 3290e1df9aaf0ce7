import { type GossipSub, type Message, TopicValidatorResult } from '@libp2p/gossipsub'
import { encode } from 'cborg'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { decodeCbor } from './fields.ts'

/** A payload's kind: heartbeats of the mesh itself, or data of whoever publishes through it. */
export type GossipKind = 'beat' | 'data'

export type GossipListener = (origin: string, kind: GossipKind, payload: Uint8Array) => void

/** The longest payload that can be published. */
export const MAX_PAYLOAD_BYTES = 64 * 1024

/** A message is a batch of payloads, or one payload of the longest kind with its framing. */
export const MAX_MESSAGE_BYTES = MAX_PAYLOAD_BYTES + 1_024

/** One topic: a cluster is one audience, and the secret keeps clusters apart. */
export const TOPIC = 'starling/1'

/** Payloads published together within this time travel as one signed message. */
const BATCH_MS = 5

/** Full batches that leave in one turn; with {@link BATCH_MS} this bounds the rate at 12 MiB/s. */
const MAX_MESSAGES_PER_TURN = 1

/** Beyond this the oldest payloads are dropped: gossip only hastens what reconciliation ensures. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024

/** Payloads of one message, since each costs some memory whatever its length. */
const MAX_BATCH = 1_024

interface Payload {
  readonly kind: GossipKind
  readonly bytes: Uint8Array
}

/**
 * Spreads payloads to all nodes, most of the time: it neither retries nor confirms. Messages are
 * signed by their origin, since they are relayed and a heartbeat must be the node's own.
 */
export class Gossip {
  readonly #pubsub: GossipSub
  readonly #log: Log
  readonly #listener: GossipListener
  readonly #onMessage = (event: CustomEvent<Message>) => this.#receive(event.detail)
  #queue: Payload[] = []
  #queuedBytes = 0
  #droppedPayloads = 0
  #timer: NodeJS.Timeout | undefined
  #started = false
  #closed = false

  constructor(pubsub: GossipSub, listener: GossipListener, log: Log) {
    this.#pubsub = pubsub
    this.#listener = listener
    this.#log = log
  }

  /** Joins the topic; the libp2p node must be started. */
  start(): void {
    this.#pubsub.topicValidators.set(TOPIC, (_peer, message) =>
      message.type === 'signed' && message.data.length <= MAX_MESSAGE_BYTES
        ? TopicValidatorResult.Accept
        : TopicValidatorResult.Reject
    )
    this.#pubsub.addEventListener('message', this.#onMessage)
    this.#pubsub.subscribe(TOPIC)
    this.#started = true
  }

  /** Queues a payload; throws `SIZE_INVALID` when it is too long for gossip. */
  publish(kind: GossipKind, bytes: Uint8Array): void {
    if (bytes.length > MAX_PAYLOAD_BYTES) {
      throw new StarlingError('SIZE_INVALID', `gossip carries at most ${MAX_PAYLOAD_BYTES} bytes`)
    }
    if (this.#closed) return
    this.#queue.push({ kind, bytes })
    this.#queuedBytes += bytes.length
    while (this.#queuedBytes > MAX_QUEUED_BYTES) this.#dropOldest()
    this.#schedule()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#queue = []
    this.#pubsub.removeEventListener('message', this.#onMessage)
    // It throws when it never started, which is how a node ends whose port was taken.
    if (this.#started) this.#pubsub.unsubscribe(TOPIC)
    this.#pubsub.topicValidators.delete(TOPIC)
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#flush()
    }, BATCH_MS)
  }

  async #flush(): Promise<void> {
    for (let sent = 0; sent < MAX_MESSAGES_PER_TURN && this.#queue.length > 0; sent += 1) {
      const message = encodeBatch(this.#takeBatch())
      try {
        await this.#pubsub.publish(TOPIC, message)
      } catch (error) {
        this.#log.debug({ err: error }, 'gossip not sent')
      }
    }
    if (this.#droppedPayloads > 0) {
      this.#log.warn({ payloads: this.#droppedPayloads }, 'gossip dropped')
      this.#droppedPayloads = 0
    }
    if (this.#queue.length > 0 && !this.#closed) this.#schedule()
  }

  #takeBatch(): readonly Payload[] {
    let count = 0
    let bytes = 0
    for (const payload of this.#queue) {
      if (
        count > 0 &&
        (bytes + payload.bytes.length + 16 > MAX_PAYLOAD_BYTES || count === MAX_BATCH)
      )
        break
      count += 1
      bytes += payload.bytes.length + 16
    }
    const batch = this.#queue.splice(0, count)
    for (const payload of batch) this.#queuedBytes -= payload.bytes.length
    return batch
  }

  #dropOldest(): void {
    const dropped = this.#queue.shift()
    this.#queuedBytes -= dropped?.bytes.length ?? this.#queuedBytes
    this.#droppedPayloads += 1
  }

  #receive(message: Message): void {
    if (message.topic !== TOPIC || message.type !== 'signed') return
    const origin = message.from.toString()
    try {
      for (const { kind, bytes } of decodeBatch(message.data)) this.#listener(origin, kind, bytes)
    } catch (error) {
      this.#log.debug({ origin, err: error }, 'gossip not understood')
    }
  }
}

const KIND_CODES = { beat: 0, data: 1 } as const

function encodeBatch(batch: readonly Payload[]): Uint8Array {
  return encode(batch.map(({ kind, bytes }) => [KIND_CODES[kind], bytes]))
}

function decodeBatch(bytes: Uint8Array): readonly Payload[] {
  const batch = decodeCbor(bytes)
  if (!Array.isArray(batch) || batch.length > MAX_BATCH) throw broken()
  return batch.flatMap((entry: unknown): Payload[] => {
    if (!Array.isArray(entry)) throw broken()
    const [code, payload]: unknown[] = entry
    if (!(payload instanceof Uint8Array)) throw broken()
    if (code === KIND_CODES.beat) return [{ kind: 'beat', bytes: payload }]
    if (code === KIND_CODES.data) return [{ kind: 'data', bytes: payload }]
    // A kind of a later version: its meaning is not ours to guess.
    return []
  })
}

function broken(): StarlingError {
  return new StarlingError('PEER_FAILED', 'a gossip message that is not a batch')
}
