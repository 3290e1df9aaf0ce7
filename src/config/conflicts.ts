import type { Config } from './settings.ts'
import { formatHostPort } from './values.ts'

/** Settings that are right one by one and cannot work together. Those found wrong are absent. */
export function conflicts(config: Partial<Config>): string[] {
  const { join = [], secretFile, deadAfterMs, forgetAfterMs } = config
  const problems: string[] = []
  if (join.length > 0 && secretFile === undefined) {
    problems.push('--secret-file: expected the secret file of the cluster to --join; got none')
  }
  if (deadAfterMs !== undefined && forgetAfterMs !== undefined && forgetAfterMs <= deadAfterMs) {
    problems.push('--forget-after: expected a longer time than --dead-after')
  }
  return [...problems, ...lockedOut(config), ...sharedAddresses(config)]
}

/** Settings of who may do what that would let nobody in, or would not do what they seem to. */
function lockedOut(config: Partial<Config>): string[] {
  const { htpasswd, htpasswdGraceMs, anonymous, tlsCert, tlsKey, tlsClientCa } = config
  const problems: string[] = []
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    problems.push('--tls-cert, --tls-key: expected both or none')
  }
  if (tlsClientCa !== undefined && tlsCert === undefined) {
    problems.push('--tls-client-ca: expected --tls-cert with it')
  }
  if (htpasswdGraceMs !== undefined && htpasswd === undefined) {
    problems.push('--htpasswd-grace: expected --htpasswd with it')
  }
  if (anonymous === 'none' && htpasswd === undefined && tlsClientCa === undefined) {
    problems.push('--anonymous: none lets nobody in without --htpasswd or --tls-client-ca')
  }
  return problems
}

function sharedAddresses(config: Partial<Config>): string[] {
  const problems: string[] = []
  const taken = new Map<string, string>()
  for (const flag of ['registry', 'admin', 'mesh', 'transfer'] as const) {
    for (const address of [config[flag] ?? []].flat()) {
      if (address.port === 0) continue
      const text = formatHostPort(address)
      const other = taken.get(text)
      if (other !== undefined) {
        problems.push(`--${flag}: expected an address of its own; ${text} is that of --${other}`)
      }
      taken.set(text, flag)
    }
  }
  return problems
}
