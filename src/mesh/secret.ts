import { randomBytes, scrypt } from 'node:crypto'
import { unwatchFile, watchFile } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isCode, StarlingError, systemCode } from '../errors.ts'
import type { Log } from '../log.ts'
import { readSmallFile, replaceSmallFile } from '../small-file.ts'

export interface SecretsOptions {
  readonly dataDir: string
  /** The file the operator named; without one it is `cluster.secret` in the data directory. */
  readonly file?: string
  /** Whether this node is to join others: then a secret is never invented. */
  readonly joining: boolean
  readonly log: Log
}

/** Shorter secrets could be guessed from one recorded handshake. */
const MIN_SECRET_BYTES = 16

/** A rotation needs two lines; more than this is a file that is something else. */
const MAX_SECRETS = 16
const MAX_SECRET_FILE_BYTES = 16_384

/** How often the file is looked at. Polling, because a mounted Kubernetes secret is swapped by symlinks. */
const WATCH_INTERVAL_MS = 1_000

/** 32 MiB and some 80 ms for each guess at a secret; paid once per secret at start. */
const SCRYPT = { N: 32_768, r: 8, p: 1, maxmem: 64 * 1024 * 1024 }
const SCRYPT_SALT = 'starling cluster secret 1'

/**
 * The cluster secrets, stretched to keys: the first is used to dial, all are accepted. The file is
 * read again when it changes, so that a secret rotates without a restart: add the new one as the
 * last line everywhere, then move it to the top everywhere, then remove the old one.
 */
export class Secrets {
  readonly #file: string
  readonly #log: Log
  #keys: readonly Buffer[]
  #stretched: ReadonlyMap<string, Buffer>
  #reloading: Promise<void> | undefined
  readonly #onFileChange = () => void this.reload()

  /** Throws `CONFIG_INVALID` when the file is needed and absent, or holds a secret that is too short. */
  static async open(options: SecretsOptions): Promise<Secrets> {
    const file = options.file ?? join(options.dataDir, 'cluster.secret')
    if (options.file === undefined && !options.joining) await createSecretFile(file)
    const stretched = await stretchAll(await readSecrets(file), new Map())
    const secrets = new Secrets(file, stretched, options.log)
    watchFile(file, { interval: WATCH_INTERVAL_MS, persistent: false }, secrets.#onFileChange)
    return secrets
  }

  private constructor(file: string, stretched: ReadonlyMap<string, Buffer>, log: Log) {
    this.#file = file
    this.#log = log
    this.#stretched = stretched
    this.#keys = [...stretched.values()]
  }

  /** 32-byte keys, never empty: the first to dial with, all to accept. */
  keys(): readonly Buffer[] {
    return this.#keys
  }

  /** Reads the file again; a file that cannot be used is logged and the known secrets stay. */
  reload(): Promise<void> {
    this.#reloading ??= this.#reload().finally(() => {
      this.#reloading = undefined
    })
    return this.#reloading
  }

  close(): void {
    unwatchFile(this.#file, this.#onFileChange)
  }

  async #reload(): Promise<void> {
    try {
      this.#stretched = await stretchAll(await readSecrets(this.#file), this.#stretched)
      this.#keys = [...this.#stretched.values()]
      this.#log.info({ file: this.#file, secrets: this.#keys.length }, 'secrets reloaded')
    } catch (error) {
      this.#log.error({ file: this.#file, err: error }, 'secrets not reloaded')
    }
  }
}

/** One that is there and empty is what a power cut left of a file whose secret nobody has heard. */
async function createSecretFile(file: string): Promise<void> {
  try {
    const there = await readSmallFile(file)
    if (there !== undefined && there.length > 0) return
    await replaceSmallFile(file, `${randomBytes(32).toString('base64url')}\n`, 0o600)
  } catch (error) {
    throw new StarlingError('CONFIG_INVALID', `cannot write the cluster secret ${file}`, {
      cause: error
    })
  }
}

async function readSecrets(file: string): Promise<readonly string[]> {
  try {
    const bytes = await readFile(file)
    if (bytes.length > MAX_SECRET_FILE_BYTES) {
      throw new StarlingError('CONFIG_INVALID', `${file} is too large to be a cluster secret file`)
    }
    return parseSecrets(bytes.toString('utf8'), file)
  } catch (error) {
    if (isCode(error, 'CONFIG_INVALID')) throw error
    const wanted = 'a node that joins others needs their cluster secret (--secret-file)'
    throw new StarlingError(
      'CONFIG_INVALID',
      `cannot read ${file} (${systemCode(error)}): ${wanted}`,
      { cause: error }
    )
  }
}

function parseSecrets(text: string, file: string): readonly string[] {
  const secrets = text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
  if (secrets.length === 0 || secrets.length > MAX_SECRETS) {
    throw new StarlingError('CONFIG_INVALID', `${file} must hold 1 to ${MAX_SECRETS} secrets`)
  }
  if (secrets.some(secret => Buffer.byteLength(secret) < MIN_SECRET_BYTES)) {
    throw new StarlingError(
      'CONFIG_INVALID',
      `each line of ${file} must have at least ${MIN_SECRET_BYTES} bytes`
    )
  }
  return secrets
}

async function stretchAll(
  secrets: readonly string[],
  known: ReadonlyMap<string, Buffer>
): Promise<ReadonlyMap<string, Buffer>> {
  const stretched = new Map<string, Buffer>()
  for (const secret of secrets) stretched.set(secret, known.get(secret) ?? (await stretch(secret)))
  return stretched
}

function stretch(secret: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(secret, SCRYPT_SALT, 32, SCRYPT, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}
