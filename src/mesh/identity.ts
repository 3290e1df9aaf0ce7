import { join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { readSmallFile, replaceSmallFile } from '../small-file.ts'

/** Who this node is: a key kept in the data directory, and the peer id that follows from it. */
export interface Identity {
  readonly id: string
  readonly name: string
  readonly privateKey: PrivateKey
}

const ADVICE = 'restore it, or remove node.key and node.json to join as a new node'

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
  if (knownName !== name) await replaceSmallFile(nameFile, `${JSON.stringify({ name })}\n`, 0o600)
  return { id: peerIdFromPrivateKey(privateKey).toString(), name, privateKey }
}

async function readKey(file: string): Promise<PrivateKey | undefined> {
  const bytes = await readSmallFile(file)
  if (bytes === undefined) return undefined
  try {
    return privateKeyFromProtobuf(bytes)
  } catch (cause) {
    throw new StarlingError('DATA_DAMAGED', `${file} is not a node key: ${ADVICE}`, { cause })
  }
}

async function readName(file: string): Promise<string | undefined> {
  const bytes = await readSmallFile(file)
  if (bytes === undefined) return undefined
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'))
    if (typeof parsed === 'object' && parsed !== null && 'name' in parsed) {
      if (typeof parsed.name === 'string') return parsed.name
    }
  } catch (cause) {
    throw new StarlingError('DATA_DAMAGED', `${file} is not JSON: ${ADVICE}`, { cause })
  }
  throw new StarlingError('DATA_DAMAGED', `${file} has no name: ${ADVICE}`)
}

async function createKey(file: string): Promise<PrivateKey> {
  const key = await generateKeyPair('Ed25519')
  await replaceSmallFile(file, privateKeyToProtobuf(key), 0o600)
  return key
}
