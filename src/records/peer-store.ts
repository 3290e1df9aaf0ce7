import type { ReconcileStore } from './answer.ts'
import type { Records } from './records.ts'

/** The records of this node as one peer reconciles with them; without a log of what came of late. */
export function peerStore(records: Records, peer: string): ReconcileStore {
  const { forgetting } = records
  const { standing } = forgetting
  return {
    root: () => records.root(),
    divide: prefix => records.divide(prefix),
    idsIn: (prefix, after, limit) => records.idsIn(prefix, after, limit),
    get: ids => records.get(ids),
    terms: () => standing.termsFor(peer),
    vouched: () => standing.vouched,
    doubts: terms => standing.doubts(terms),
    judge: (given, terms, witnesses) => forgetting.judge(given, terms, witnesses),
    witnesses: () => standing.witnesses(),
    apply: (given, vouched) => records.apply(given, { peer, vouched })
  }
}
