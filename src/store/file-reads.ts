import { read } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import type { Kernel } from '../kernel.ts'

/**
 * The reading of an open file. It goes by callback, since `FileHandle.read` adds 7 % to the processor
 * time of a pull (`bench pull`); so what a handle does for reads of its own is done here: the file
 * is closed only when none is under way.
 */
export class FileReads {
  readonly #handle: FileHandle
  #underWay = 0
  #settled: PromiseWithResolvers<void> | undefined

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** Fills the buffer as far as the file goes; gives the number of bytes read, 0 at the end. */
  async fill(buffer: Uint8Array, position: number): Promise<number> {
    let done = 0
    while (done < buffer.length) {
      const bytesRead = await this.#read(buffer, done, position + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return done
  }

  /** Moves bytes into a socket, as {@link Kernel.sendFile} does; gives how many went. */
  async moveTo(kernel: Kernel, socket: number, position: number, count: number): Promise<number> {
    this.#underWay += 1
    try {
      return await kernel.sendFile(socket, this.#handle.fd, position, count)
    } finally {
      this.#end()
    }
  }

  /** Waits for what is under way, then closes the file. */
  async close(): Promise<void> {
    if (this.#underWay > 0) {
      this.#settled ??= Promise.withResolvers<void>()
      await this.#settled.promise
    }
    await this.#handle.close()
  }

  #read(buffer: Uint8Array, offset: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const length = buffer.length - offset
      read(this.#handle.fd, buffer, offset, length, position, (error, bytesRead) => {
        this.#end()
        if (error === null) resolve(bytesRead)
        else reject(error)
      })
      this.#underWay += 1
    })
  }

  #end(): void {
    this.#underWay -= 1
    if (this.#underWay === 0) this.#settled?.resolve()
  }
}
