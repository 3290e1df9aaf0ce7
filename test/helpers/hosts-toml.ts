import { readFile } from 'node:fs/promises'

/** What the README has its reader write, with the address of another node, so that this is tested. */
export async function hostsToml(address: string, readme = 'README.md'): Promise<string> {
  const text = await readFile(new URL(`../../${readme}`, import.meta.url), 'utf8')
  const [, toml] = /```toml\n(# [^\n]*hosts\.toml\n.*?)```/s.exec(text) ?? []
  if (toml === undefined) throw new Error(`${readme} shows no hosts.toml`)
  return toml.replaceAll('127.0.0.1:5050', address)
}
