import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { StarlingError } from '../errors.ts'
import type { Holder } from './fetcher.ts'
import { peerFingerprint } from './tls.ts'

export interface PinnedSocketOptions {
  readonly holder: Holder
  /** What `tlsOptions` gives, and whatever else the socket should be like. */
  readonly tls: ConnectionOptions
  readonly connectTimeoutMs: number
  /** Ends the making of the connection, and nothing after that. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Connects to a holder, and calls back once: with `null` when the certificate that it showed was
 * compared with the pin, else with `PEER_REFUSED` or `PEER_FAILED` as its socket closes.
 */
export function connectPinned(
  { holder, tls, connectTimeoutMs, signal }: PinnedSocketOptions,
  settled: (error: Error | null, socket: TLSSocket) => void
): TLSSocket {
  const { host, port } = holder
  const socket = connect({ ...tls, host, port })
  const timer = setTimeout(
    () => socket.destroy(failure(holder, 'did not answer')),
    connectTimeoutMs
  )
  const abort = () => socket.destroy(failure(holder, 'is not needed any more'))
  const settle = (error: Error | null) => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', abort)
    socket.off('error', settle)
    socket.off('close', closed)
    if (error !== null) socket.on('error', ignore)
    settled(error, socket)
  }
  const closed = () => settle(failure(holder, 'closed the connection'))
  socket.once('error', settle)
  socket.once('close', closed)
  signal?.addEventListener('abort', abort, { once: true })
  if (signal?.aborted) abort()
  socket.once('secureConnect', () => {
    if (peerFingerprint(socket) === holder.fingerprint) settle(null)
    else {
      const what = `${holder.name} shows another certificate`
      socket.destroy(new StarlingError('PEER_REFUSED', what, { detail: holder.id }))
    }
  })
  return socket
}

/** What went wrong with a holder, in words. */
export function failure({ name, host, port }: Holder, what: string): StarlingError {
  return new StarlingError('PEER_FAILED', `${name} at ${host}:${port} ${what}`)
}

/** After a failure is settled the socket may fail once more on its way down. */
function ignore(): void {}
