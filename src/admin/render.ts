import type {
  CopiesDocument,
  DegradedImage,
  ImageStatus,
  LostImage,
  LostStatus,
  PeerStatus,
  StatusDocument
} from './status.ts'

/** A status for people: a headline, then a table for each kind of thing that there is any of. */
export function renderStatus(status: StatusDocument): string {
  const { node, blobs, disk } = status
  const lines = [
    `${node.name}  ${status.ready ? 'ready' : `not ready: ${status.reason}`}`,
    `  id ${node.id}, version ${node.version}, up ${formatSeconds(node.uptimeSeconds)}`,
    `  ${count(blobs.held, 'blob')} held (${formatBytes(blobs.bytesHeld)}), ${blobs.missing} missing`,
    `  disk ${disk.state}: ${formatBytes(disk.usedBytes)} of ${formatBytes(disk.totalBytes)} used`
  ]
  const peersByName = status.peers.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const peers = peersByName.map(peer => [
    peer.name,
    peer.connected || peer.state !== 'live' ? peer.state : 'live, not connected',
    peer.address,
    peer.missing === null ? 'missing unknown' : `${peer.missing} missing`
  ])
  const transfers = status.transfers.map(({ digest, done, bytes, from }) => [
    shorten(digest),
    `${formatBytes(done)} of ${bytes === null ? '?' : formatBytes(bytes)}`,
    `from ${from.join(', ')}`
  ])
  const rowOf = (image: DegradedImage) => imageRow(image, status.holders)
  const { drift } = status
  const clocks = drift === null ? [] : [[drift.node, `${drift.seconds} s ahead of this node`]]
  return [
    ...lines,
    ...section('clocks that differ', clocks),
    ...section('names that several live nodes have: start each with its own --name', twins(status)),
    ...section(
      'nodes that were reached and refuse this one',
      status.refusedBy.map(({ address, reason }) => [address, reason])
    ),
    ...section('peers', peers),
    ...farewell(status.peers),
    ...section('images', status.images.map(rowOf)),
    ...section('transfers', transfers),
    ...section('with fewer copies than asked for', status.degraded.map(rowOf)),
    ...section(titleOf(status.lost), status.lost.images.map(lostRow))
  ].join('\n')
}

/** Images as a table, each row with its line break. */
export function renderImages(images: readonly ImageStatus[], holders: number): string {
  return table(images.map(image => imageRow(image, holders)))
    .map(row => `${row.trimStart()}\n`)
    .join('')
}

/** Who holds an image, in one line. */
export function renderCopies({ reference, digest, nodes }: CopiesDocument): string {
  if (digest === null) return `${reference} is not known yet`
  const holders = nodes.filter(node => node.state === 'live' && node.holds === true)
  const others = nodes
    .filter(node => !holders.includes(node))
    .map(({ name, state, holds, missing }) => {
      if (state === 'away') return `${name} is away`
      if (holds === null) return `${name} has not said`
      const blobs = missing.slice(0, MAX_NAMED).map(shorten).join(', ')
      const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : ''
      return missing.length === 0 ? `${name} lacks some of it` : `${name} lacks ${blobs}${more}`
    })
  const line = `${reference} is on ${holders.length} of ${count(nodes.length, 'node')}`
  return others.length === 0 ? line : `${line}; ${others.join(', ')}`
}

/** Each name once that more than one live node goes by. */
function twins({ node, peers }: StatusDocument): string[][] {
  const live = peers.filter(({ state }) => state === 'live')
  const names = [node.name, ...live.map(({ name }) => name)]
  return [...new Set(names.filter((name, at) => names.indexOf(name) < at))].map(name => [name])
}

/** What an operator can do about a member that is away for good; who comes back needs nothing. */
function farewell(peers: readonly PeerStatus[]): string[] {
  const away = peers.filter(({ state }) => state === 'away')
  const whose = away.length === 1 ? away[0]?.name : 'NAME'
  const way = `starling forget ${whose} --data DIRECTORY`
  return away.length === 0 ? [] : [`  one that never comes back: ${way}`]
}

function imageRow(
  { repository, tag, digest, bytes, copies }: DegradedImage,
  holders: number
): string[] {
  return [
    tag === null ? repository : `${repository}:${tag}`,
    shorten(digest),
    bytes === null ? 'size unknown' : formatBytes(bytes),
    copies === null ? 'copies unknown' : `copies ${copies} of ${holders}`
  ]
}

function titleOf({ mayHave }: LostStatus): string {
  return mayHave.length === 0 ? 'lost' : `lost, unless ${mayHave.join(', ')} comes back with it`
}

function lostRow({ repository, tag, digest, blobs }: LostImage): string[] {
  const name = tag === null ? repository : `${repository}:${tag}`
  return [name, shorten(digest), `lacks ${blobs.map(shorten).slice(0, MAX_NAMED).join(', ')}`]
}

/** So many blobs are named of an image, of which a layer or two are rarely more. */
const MAX_NAMED = 4

function section(title: string, rows: readonly (readonly string[])[]): string[] {
  return rows.length === 0 ? [] : ['', title, ...table(rows)]
}

/** Columns as wide as their widest cell, two spaces apart. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>(
    (known, row) => row.map((cell, column) => Math.max(cell.length, known[column] ?? 0)),
    []
  )
  return rows.map(row =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd()
  )
}

/** Algorithm and as many digits as tell blobs apart. */
function shorten(digest: string): string {
  return digest.slice(0, digest.indexOf(':') + 13)
}

export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** Bytes to people: three digits and a binary unit. */
export function formatBytes(bytes: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1)
  const scaled = bytes / 1024 ** power
  const digits = power === 0 || scaled >= 100 ? 0 : 1
  return `${scaled.toFixed(digits)} ${UNITS[power]}`
}

function formatSeconds(seconds: number): string {
  const whole = Math.floor(seconds)
  const parts: readonly (readonly [number, string])[] = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3_600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's']
  ]
  const first = parts.findIndex(([value]) => value > 0)
  const shown = first === -1 ? parts.slice(3) : parts.slice(first, first + 2)
  return shown.map(([value, unit]) => `${value}${unit}`).join(' ')
}
