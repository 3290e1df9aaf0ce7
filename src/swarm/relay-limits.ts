/** What both ends of a relayed request have to agree on. */

/** What stands before the path of a request that a peer passes on. */
export const RELAY_PREFIX = '/relay'

/**
 * How long a relayed request may pass no byte either way. More than the registry's 60 s for a client
 * that is silent, so that it is the node with the client that ends the request, and says why.
 */
export const RELAY_IDLE_TIMEOUT_MS = 75_000

/**
 * Requests passed on at once, at either end, in all and for one peer; beyond it 503. As many as
 * there may be upload sessions, since most are the body of one.
 */
export const RELAY_LIMITS = { max: 256, maxPerPeer: 128 } as const
