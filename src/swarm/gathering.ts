import type { Socket } from 'node:net'
import { descriptorOf, type Kernel, kernel } from '../kernel.ts'

/** How long bytes may lie with the kernel. */
const GATHER_MS = 16

/** In that time it is a gigabit a second: who is so quick brings much at a time by itself. */
const FAST_BYTES = 2 * 1024 * 1024

/** More than comes in that time, so that the process is not woken before. */
const RESTING_BYTES = 512 * 1024

/**
 * Lets bytes gather before they are read, on all connections at the same time. A slow link brings
 * some kilobytes at a time and wakes the process for each, on each of its connections, which costs
 * more than what is done with them: eight nodes behind links of 200 Mbit/s on two processors spend
 * 14.9 s of them on each GiB so, 17.2 s without (`bench replicate`). Where the kernel cannot be told
 * to wait, bytes are read as they come.
 */
export class Gathering {
  /** Read from in this turn of the event loop. */
  readonly #heard = new Set<Socket>()
  readonly #resting = new Set<Socket>()
  readonly #kernel: () => Pick<Kernel, 'setReceiveLowWater'> | undefined
  #bytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(kernelOf: () => Pick<Kernel, 'setReceiveLowWater'> | undefined = kernel) {
    this.#kernel = kernelOf
  }

  /** So many bytes were read; there may be more to read in the same turn. */
  took(socket: Socket, bytes: number): void {
    if (this.#kernel() === undefined) return
    this.#bytes += bytes
    if (this.#heard.size === 0) setImmediate(() => this.#rest())
    this.#heard.add(socket)
  }

  #rest(): void {
    if (this.#bytes < FAST_BYTES) {
      for (const socket of this.#heard) {
        this.#wakeAfter(socket, RESTING_BYTES)
        this.#resting.add(socket)
      }
    }
    this.#heard.clear()
    this.#timer ??= setTimeout(() => this.#readOn(), GATHER_MS)
  }

  #readOn(): void {
    this.#timer = undefined
    this.#bytes = 0
    for (const socket of this.#resting) this.#wakeAfter(socket, 1)
    this.#resting.clear()
  }

  #wakeAfter(socket: Socket, bytes: number): void {
    const descriptor = descriptorOf(socket)
    if (descriptor !== undefined) this.#kernel()?.setReceiveLowWater(descriptor, bytes)
  }
}
