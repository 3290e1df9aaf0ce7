import { PinnedAgent } from './agent.ts'
import type { Credentials } from './certificate.ts'
import type { Holder } from './fetcher.ts'

export interface AgentsOptions {
  readonly credentials: Credentials
  readonly connectTimeoutMs: number
  /** How long an idle connection is kept. */
  readonly idleTimeoutMs: number
  /** Connections at once to one holder. */
  readonly maxSockets: number
  /** Holders with connections kept; beyond it those of the idle one longest unused are closed. */
  readonly maxHolders: number
}

/** The connections kept to other nodes: an agent for each, by who is met where. */
export class Agents {
  readonly #options: AgentsOptions
  /** The order is that of last use. */
  readonly #agents = new Map<string, PinnedAgent>()

  constructor(options: AgentsOptions) {
    this.#options = options
  }

  /** The agent for a holder, made when there is none. */
  of(holder: Holder): PinnedAgent {
    const key = `${holder.fingerprint} ${holder.host} ${holder.port}`
    const agent = this.#agents.get(key) ?? new PinnedAgent({ ...this.#options, holder })
    this.#agents.delete(key)
    this.#dropOldest()
    this.#agents.set(key, agent)
    return agent
  }

  /** Closes every connection, whatever it is doing. */
  destroy(): void {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#agents.clear()
  }

  #dropOldest(): void {
    if (this.#agents.size < this.#options.maxHolders) return
    for (const [key, agent] of this.#agents) {
      if (agent.busy) continue
      agent.destroy()
      this.#agents.delete(key)
      return
    }
  }
}
