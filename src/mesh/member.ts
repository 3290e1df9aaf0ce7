/** What every node knows of a member: the body of its member record. */
export interface MemberInfo {
  /** The libp2p peer id. */
  readonly id: string
  /** The node name, for people. */
  readonly name: string
  /** Where its mesh port can be dialled, `host:port`. */
  readonly mesh: readonly string[]
  /** Where its transfer port can be dialled, `host:port`. */
  readonly transfer: string
  /** The lowest and the highest version of the mesh protocol that it speaks. */
  readonly protocol: ProtocolRange
  readonly hold: Hold
}

export type Hold = 'all' | 'none'

export type ProtocolRange = readonly [lowest: number, highest: number]

/** What this build speaks. */
export const PROTOCOL: ProtocolRange = [1, 1]

/** More addresses than a machine has interfaces worth dialling. */
export const MAX_MEMBER_ADDRESSES = 8

export const MAX_NAME_LENGTH = 253

/** Peer ids are 52 characters; the bound leaves room for other key kinds. */
export const MAX_ID_LENGTH = 128

/** Whether two ranges have a version in common. */
export function compatible(a: ProtocolRange, b: ProtocolRange): boolean {
  return a[0] <= b[1] && b[0] <= a[1]
}
