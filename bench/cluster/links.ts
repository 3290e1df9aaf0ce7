import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** As much as a link may be behind before it drops: some hundred kilobytes, as a switch port. */
const QUEUE_MS = 20

/** A bucket holds what the rate lets through in this time, so that the kernel's timers suffice. */
const BURST_MS = 4

/** The kernel hands over packets of this size joined, and the bucket must hold one of them. */
const MIN_BURST_BYTES = 64 * 1024

/** A network device: in a network namespace, or in this process's own where none is named. */
export interface Device {
  readonly name: string
  readonly namespace?: string
}

/**
 * Makes a network namespace, the `eth0` of which has an address (`10.0.0.1/24`) and is linked to a
 * port of a bridge. Gives the port. Needs root and iproute2; throws what `ip` says.
 */
export async function linkNamespace(
  namespace: string,
  address: string,
  bridge: Device,
  portName: string
): Promise<Device> {
  await ip(undefined, `netns add ${namespace}`)
  await ip(namespace, 'link set lo up')
  const port = { ...bridge, name: portName }
  await ip(port.namespace, `link add ${port.name} type veth peer name eth0 netns ${namespace}`)
  await ip(port.namespace, `link set ${port.name} master ${bridge.name} up`)
  await ip(namespace, `address add ${address} dev eth0`)
  await ip(namespace, 'link set eth0 up')
  return port
}

/** Lets a device send no faster than that. Throws what `tc` says. */
export async function shapeDevice(
  { name, namespace }: Device,
  bitsPerSecond: number
): Promise<void> {
  const burst = Math.max(MIN_BURST_BYTES, Math.ceil((bitsPerSecond / 8 / 1000) * BURST_MS))
  const tbf = `tbf rate ${bitsPerSecond}bit burst ${burst}b latency ${QUEUE_MS}ms`
  await run('tc', [...within(namespace), ...`qdisc replace dev ${name} root ${tbf}`.split(' ')])
}

/** Runs `ip`, in a namespace if one is given. Throws what it says. */
export async function ip(namespace: string | undefined, line: string): Promise<void> {
  await run('ip', [...within(namespace), ...line.split(' ')])
}

function within(namespace: string | undefined): readonly string[] {
  return namespace === undefined ? [] : ['-n', namespace]
}
