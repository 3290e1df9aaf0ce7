import type { MessageStream } from '@libp2p/interface'
import { yamux } from '@libp2p/yamux'
import { StreamState, type YamuxStream } from '@libp2p/yamux/stream'

type YamuxOptions = NonNullable<Parameters<typeof yamux>[0]>
type YamuxFactory = ReturnType<ReturnType<typeof yamux>>

/** A quarter of the window that a stream begins with: who sends never comes near its end. */
const OWED_BYTES = 64 * 1024

/**
 * Yamux, sparing with window updates. The JavaScript one answers each message with an update, so
 * that a message costs two: both ciphers, a packet and a wake-up of the other end each time. Go's
 * waits until half of the window is used up, and the specification asks for no more.
 */
export function thriftyYamux(options: YamuxOptions): () => YamuxFactory {
  const yamuxFactory = yamux(options)
  return () => {
    const factory = yamuxFactory()
    const create = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection: MessageStream) => {
      const muxer = create(connection)
      const take = muxer.onRemoteStream.bind(muxer)
      muxer.onRemoteStream = stream => take(thrifty(stream))
      const open = muxer.onCreateStream.bind(muxer)
      muxer.onCreateStream = () => thrifty(open())
      return muxer
    }
    return factory
  }
}

function thrifty(stream: YamuxStream): YamuxStream {
  const handle = stream.handleData.bind(stream)
  const update = stream.sendWindowUpdate.bind(stream)
  let owedBytes = 0
  stream.handleData = frame => {
    owedBytes += frame.header.length
    handle(frame)
  }
  stream.sendWindowUpdate = () => {
    // An update opens a stream, or accepts it; after that it only makes room.
    const isNew = stream.state === StreamState.Init || stream.state === StreamState.SYNReceived
    if (!isNew && owedBytes < OWED_BYTES) return
    owedBytes = 0
    update()
  }
  return stream
}
