import { DEFAULT_LIMITS, type Limits } from '../schedule/limits.ts'

const MiB = 1024 * 1024

/** Half the bytes that the simulator chose: a node stays below 300 MiB in all (design, P8). */
export const DRIVER_LIMITS: Limits = {
  ...DEFAULT_LIMITS,
  blobBytes: 40 * MiB,
  nodeBytes: 64 * MiB
}
