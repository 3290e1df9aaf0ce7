import { chmod, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Introspection } from './introspection.ts'
import type { Operations } from './operations.ts'
import { AdminServer, type RegistryHandler } from './server.ts'

/** Where a node with this data directory can be talked to. */
export function controlSocket(dataDir: string): string {
  return join(dataDir, 'control.sock')
}

export interface ControlOptions {
  readonly dataDir: string
  readonly introspection: Introspection
  readonly operations: Operations
  /** Answers what is asked of the registry; nobody if not given. */
  readonly registry?: RegistryHandler
  readonly log: Log
}

/**
 * Opens the socket that the command line talks to. Only the user who runs the node may connect.
 *
 * @throws `DATA_LOCKED` when another process answers on it
 */
export async function openControl(options: ControlOptions): Promise<AdminServer> {
  const { dataDir, ...served } = options
  const path = controlSocket(dataDir)
  if (await answers(path)) {
    throw new StarlingError('DATA_LOCKED', `another process listens on ${path}`)
  }
  // A node that was killed leaves its socket behind.
  await rm(path, { force: true })
  const server = await AdminServer.open({ listen: { path }, ...served })
  await chmod(path, 0o600)
  return server
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
