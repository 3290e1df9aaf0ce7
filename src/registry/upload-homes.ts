import type { IncomingHttpHeaders } from 'node:http'

/** The nodes that uploads are on, by the names that they have in the ids of uploads. */
export interface UploadHomes {
  /** This node. */
  readonly here: string
  /**
   * Has another node answer a request; `undefined` when it is not live, or there is none of this
   * name. Throws `UNAVAILABLE` or `PEER_FAILED` when it does not answer, and the body's own error.
   */
  forward(home: string, request: Forwarded, signal: AbortSignal): Promise<Answered | undefined>
}

/** A client's request as it goes on to another node. */
export interface Forwarded {
  readonly method: string
  readonly path: string
  /** Its `content-length` is that of the body, which goes on in chunks without one. */
  readonly headers: Readonly<Record<string, string>>
  /** Called when the other node wants the body, which is read no faster than it takes it. */
  readonly body?: (() => AsyncIterable<Uint8Array>) | undefined
}

export interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Short: an error in JSON, or nothing. */
  readonly body: Buffer
}
