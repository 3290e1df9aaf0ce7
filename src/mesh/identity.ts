import { open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { StarlingError, systemCode } from '../errors.ts'
import type { Log } from '../log.ts'

/** Who this node is: a key kept in the data directory, and the peer id that follows from it. */
export interface Identity {
  readonly id: string
  readonly name: string
  readonly privateKey: PrivateKey
}

/**
 * Reads or makes the node's key. The key is bound to the name: data found under another name is a
 * copied disk or a renamed node, and gets a new identity, so that one id is never two nodes.
 */
export async function openIdentity(dataDir: string, name: string, log: Log): Promise<Identity> {
  const keyFile = join(dataDir, 'node.key')
  const nameFile = join(dataDir, 'node.json')
  const [knownKey, knownName] = [await readKey(keyFile), await readName(nameFile)]
  const renamed = knownName !== undefined && knownName !== name
  if (renamed) log.warn({ was: knownName, name }, 'node renamed, new identity')
  const privateKey = knownKey === undefined || renamed ? await createKey(keyFile) : knownKey
  // The name follows the key: a crash between the two leaves the old name and so makes yet another
  // key, never the old key under the new name.
  if (knownName !== name) await replaceFile(nameFile, `${JSON.stringify({ name })}\n`)
  return { id: peerIdFromPrivateKey(privateKey).toString(), name, privateKey }
}

async function readKey(file: string): Promise<PrivateKey | undefined> {
  const bytes = await readIfThere(file)
  if (bytes === undefined) return undefined
  try {
    return privateKeyFromProtobuf(bytes)
  } catch (cause) {
    const advice = 'restore it, or remove it to join as a new node'
    throw new StarlingError('DATA_DAMAGED', `${file} is not a node key: ${advice}`, { cause })
  }
}

async function readName(file: string): Promise<string | undefined> {
  const bytes = await readIfThere(file)
  if (bytes === undefined) return undefined
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'))
    if (typeof parsed === 'object' && parsed !== null && 'name' in parsed) {
      if (typeof parsed.name === 'string') return parsed.name
    }
  } catch (cause) {
    throw new StarlingError('DATA_DAMAGED', `${file} is not JSON`, { cause })
  }
  throw new StarlingError('DATA_DAMAGED', `${file} has no name`)
}

async function createKey(file: string): Promise<PrivateKey> {
  const key = await generateKeyPair('Ed25519')
  await replaceFile(file, privateKeyToProtobuf(key))
  return key
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function replaceFile(file: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${file}.new`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(content)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
  await syncDirectory(dirname(file))
}

/** Makes the rename outlive a power cut: without it a known member could come back as a new one. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
