import type { Cluster } from './cluster.ts'
import { unavailable } from './unavailable.ts'

/** How long an unknown name is asked of the live members before it is called unknown. */
export const ASK_TIMEOUT_MS = 300

/** Makes sure of what this node knows before it answers from that (design section 5, "Reading"). */
export class Lookup {
  readonly #cluster: Cluster

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** P2 and P4: a node that may be behind asks first, then answers with what it has. */
  async catchUpUnlessReady(): Promise<void> {
    if (this.#cluster.mayBeBehind()) await this.#cluster.catchUp(ASK_TIMEOUT_MS)
  }

  /**
   * Asks the live members about a name that is not known here. Returns once it is known, or is
   * surely unknown; throws `UNAVAILABLE` before the first catch-up, or when a member stays silent.
   */
  async settle(isKnown: () => boolean | Promise<boolean>, what: string): Promise<void> {
    if (await isKnown()) return
    const sure = await this.#cluster.catchUp(ASK_TIMEOUT_MS)
    if (sure || (await isKnown())) return
    throw unavailable(`${what} is not known here, and not every live member has answered yet`)
  }
}
