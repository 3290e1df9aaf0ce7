import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import type { KoffiFunc } from 'koffi'

/** What Linux does for files and sockets and Node has no word for. All take plain descriptors. */
export interface Kernel {
  /**
   * sendfile(2), on a thread of Node's pool: moves up to `count` bytes of a file, from `position` on,
   * into a socket without copying them. Gives how many went; 0 when the socket has no room, when the
   * file ends there, when {@link MAX_MOVES} are under way, and when it fails, which the next ordinary
   * read or write then explains. It uses the position of the open file, so a file is moved by one at
   * a time.
   */
  sendFile(socket: number, file: number, position: number, count: number): Promise<number>
  /** dup(2): another descriptor, which stays whatever becomes of the first; -1 when there is none. */
  duplicate(descriptor: number): number
  /** SO_RCVLOWAT: a socket counts as readable only once so many bytes are there, or it has ended. */
  setReceiveLowWater(socket: number, bytes: number): void
  /** close(2), of what {@link duplicate} gave. */
  close(descriptor: number): void
}

/**
 * At once, each of which has one of Node's four threads for files: were a disk to hold all of them,
 * nothing could be written or synced. koffi itself refuses more than 256.
 */
const MAX_MOVES = 2

/** Where the numbers and sizes below are those of the system; elsewhere all goes the ordinary way. */
const ARCHITECTURES: readonly string[] = ['x64', 'arm64']

/** `undefined` where the system is another one, or the package that reaches it has no build for it. */
export function kernel(): Kernel | undefined {
  const isKnown = process.platform === 'linux' && ARCHITECTURES.includes(process.arch)
  found ??= { kernel: isKnown ? load() : undefined }
  return found.kernel
}

/** The descriptor of a connection; `undefined` when it has none, or none any more. */
export function descriptorOf(socket: Socket): number | undefined {
  // Public in all but name: node's own cluster module and many a package read it.
  const { _handle: handle } = socket as { _handle?: { readonly fd?: number } | null }
  return handle?.fd === undefined || handle.fd < 0 ? undefined : handle.fd
}

const SEEK_SET = 0
const SOL_SOCKET = 1
const SO_RCVLOWAT = 18

let found: { readonly kernel: Kernel | undefined } | undefined

/** Not before it is needed: it takes some 15 ms. */
function load(): Kernel | undefined {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const libc = koffi.load('libc.so.6')
    const seek = libc.func('int64_t lseek(int file, int64_t position, int whence)')
    const sendfile = libc.func(
      'int64_t sendfile(int out, int from, void *offset, uint64_t count)'
    ) as KoffiFunc<(out: number, from: number, offset: null, count: number) => number>
    const setsockopt = libc.func(
      'int setsockopt(int socket, int level, int name, const void *value, uint32_t bytes)'
    )
    const option = new Int32Array(1)
    let moves = 0
    return {
      sendFile(socket, file, position, count) {
        if (moves >= MAX_MOVES) return Promise.resolve(0)
        // With a pointer to the position, koffi 3.3.4 corrupts memory when the call is on a thread.
        if (Number(seek(file, position, SEEK_SET)) !== position) return Promise.resolve(0)
        moves += 1
        return new Promise<number>((resolve, reject) => {
          sendfile.async(socket, file, null, count, (error, moved) => {
            if (error) reject(error)
            else resolve(Math.max(0, Number(moved)))
          })
        }).finally(() => {
          moves -= 1
        })
      },
      setReceiveLowWater(socket, bytes) {
        option[0] = bytes
        setsockopt(socket, SOL_SOCKET, SO_RCVLOWAT, option, option.byteLength)
      },
      duplicate: libc.func('int dup(int descriptor)'),
      close: libc.func('int close(int descriptor)')
    }
  } catch {
    return undefined
  }
}
