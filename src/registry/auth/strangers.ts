import { BlockList, isIP } from 'node:net'
import type { Log } from '../../log.ts'
import type { Guard } from './guard.ts'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/** Says so when anyone who reaches this node may change what the cluster runs. */
export function warnOfStrangers(guard: Guard, hosts: readonly string[], log: Log): void {
  const exposed = hosts.filter(host => !isLoopback(host))
  if (!guard.isOpen || exposed.length === 0) return
  log.warn({ addresses: exposed }, 'anyone who reaches the registry may push')
}

/** Whether only this machine reaches an address; of names that is known of one. */
export function isLoopback(host: string): boolean {
  const family = isIP(host)
  if (family === 0) return host === 'localhost'
  return LOOPBACK.check(host, family === 6 ? 'ipv6' : 'ipv4')
}
