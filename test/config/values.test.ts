import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  byteRate,
  dataDir,
  duration,
  type Format,
  host,
  hostPort,
  joinSource,
  nodeName
} from '../../src/config/values.ts'

test('durations are a whole number and a unit', () => {
  reads(duration, {
    '25s': 25_000,
    '500ms': 500,
    '7d': 604_800_000,
    '5m': 300_000,
    '1h': 3_600_000
  })
  refuses(duration, ['', '0s', '25', 's', '1.5s', '-1s', '25 s', '25S', '1w', '9999999999s'])
})

test('addresses to listen on have a host and a port, IPv6 in brackets', () => {
  reads(hostPort, {
    '127.0.0.1:5050': { host: '127.0.0.1', port: 5050 },
    '0.0.0.0:0': { host: '0.0.0.0', port: 0 },
    '[::]:0': { host: '::', port: 0 },
    '[fd00::1]:65535': { host: 'fd00::1', port: 65_535 },
    'localhost:1': { host: 'localhost', port: 1 }
  })
  refuses(hostPort, ['', '5050', ':5050', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536', '::1:5050'])
  refuses(hostPort, ['[127.0.0.1]:1', '[::1:1', 'a b:1', 'a/b:1', '10.0.0.256:1', 'http://a:1'])
})

test('hosts are names or addresses without a port', () => {
  reads(host, { 'node-1.example': 'node-1.example', '10.0.0.1': '10.0.0.1', '::1': '::1' })
  reads(host, { '[::1]': '::1' })
  refuses(host, ['', 'a:1', '-a', 'a..b', '1.2.3', `${'a'.repeat(64)}.example`])
})

test('peers are looked for at an address, behind a DNS name or by multicast', () => {
  const sources = ['10.0.0.1:5052', '[fd00::1]:5052', 'node-1:5052', 'dns:starling:5052', 'mdns']
  for (const source of sources) assert.equal(joinSource.parse(source), source)
  refuses(joinSource, ['', 'node-1', 'node-1:0', 'dns:starling', 'dns:10.0.0.1:5052', 'MDNS'])
  refuses(joinSource, ['a:1,b:2', 'dns::5052', 'mdns:5052:1'])
})

test('a rate is in binary units a second, or 0', () => {
  reads(byteRate, { '0': 0, '20MiB/s': 20 * 1024 ** 2, '1KiB/s': 1_024 })
  refuses(byteRate, ['', '20', '20MiB', '20MB/s', '-1MiB/s', '1.5GiB/s', '0MiB/s'])
})

test('node names are what hosts are called', () => {
  reads(nodeName, { a: 'a', 'ip-10-0-0-1.example': 'ip-10-0-0-1.example', Node_1: 'Node_1' })
  refuses(nodeName, ['', '-a', 'a-', 'a b', 'a/b', 'é', 'a'.repeat(254)])
})

test('a data directory whose socket path would be too long is refused', () => {
  assert.equal(dataDir.parse(`/${'a'.repeat(89)}`), `/${'a'.repeat(89)}`)
  refuses(dataDir, ['', `/${'a'.repeat(90)}`, 'a\0b'])
})

function reads<T>(format: Format<T>, cases: Readonly<Record<string, T>>): void {
  for (const [text, value] of Object.entries(cases))
    assert.deepEqual(format.parse(text), value, text)
}

function refuses<T>(format: Format<T>, texts: readonly string[]): void {
  for (const text of texts) assert.equal(format.parse(text), undefined, JSON.stringify(text))
}
