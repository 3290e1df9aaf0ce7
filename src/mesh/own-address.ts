import {
  type Address,
  dialableHost,
  externalHosts,
  formatAddress,
  isUnspecified
} from './address.ts'

/**
 * Where peers dial this node. What the operator advertises, or a definite address listened on, is
 * final. Otherwise it starts as the first address of the system, and follows what peers see.
 */
export class OwnAddress {
  readonly #final: boolean
  #address: Address

  constructor(listen: Address, advertise: string | undefined) {
    this.#final = advertise !== undefined || !isUnspecified(listen.host)
    this.#address = { host: dialableHost(listen.host, advertise), port: listen.port }
  }

  /** The port that was had, once listening. */
  bound(port: number): void {
    this.#address = { ...this.#address, port }
  }

  /** A peer sees us under this host; tells whether that changed our address. */
  observed(host: string): boolean {
    // Only an address of this machine: behind a translator we are seen under that of another.
    if (this.#final || host === this.#address.host || !externalHosts().includes(host)) return false
    this.#address = { ...this.#address, host }
    return true
  }

  toString(): string {
    return formatAddress(this.#address)
  }
}
