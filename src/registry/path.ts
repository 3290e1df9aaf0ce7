/**
 * The paths of the registry. A repository name has slashes, which no route parameter can cross, so
 * the path is taken apart here, before routing, and put together again with the name as one
 * percent-encoded segment. Then routes, their parameters and their labels are Fastify's own.
 */

export type Endpoint =
  | { readonly kind: 'root' }
  | { readonly kind: 'token' }
  | { readonly kind: 'version' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'discover' }
  | { readonly kind: 'discoverIn' | 'tags' | 'uploads'; readonly name: string }
  | {
      readonly kind: 'upload' | 'blob' | 'manifest' | 'referrers'
      readonly name: string
      readonly last: string
    }

/** The route of each endpoint; `:last` is the digest, the tag or digest, or the upload's id. */
export const ROUTES = {
  root: '/',
  token: '/token',
  version: '/v2/',
  catalog: '/v2/_catalog',
  discover: '/v2/_oci/ext/discover',
  discoverIn: '/v2/:name/_oci/ext/discover',
  tags: '/v2/:name/tags/list',
  uploads: '/v2/:name/blobs/uploads/',
  upload: '/v2/:name/blobs/uploads/:last',
  blob: '/v2/:name/blobs/:last',
  manifest: '/v2/:name/manifests/:last',
  referrers: '/v2/:name/referrers/:last'
} as const satisfies Record<Endpoint['kind'], string>

/** Where {@link rewriteUrl} sends what is no endpoint. No route may be declared there. */
export const NOWHERE = '/-'

/**
 * Finds what a path asks for. Matches from the right, since a name may have segments such as
 * `blobs` or `manifests`. The name and the last part are not validated yet. A name is taken as it
 * is written: no valid one needs percent-encoding, and `%2f` must not become a slash.
 *
 * @param path the path without its query, percent-encoded as it was sent
 */
export function parsePath(path: string): Endpoint | undefined {
  if (path === '/') return { kind: 'root' }
  if (path === '/token') return { kind: 'token' }
  if (path === '/v2' || path === '/v2/') return { kind: 'version' }
  if (path === '/v2/_catalog') return { kind: 'catalog' }
  if (path === ROUTES.discover) return { kind: 'discover' }
  if (!path.startsWith('/v2/')) return undefined

  const segments = path.slice('/v2/'.length).split('/')
  const last = segments.at(-1) ?? ''
  const before = segments.at(-2)
  const name = (drop: number) => segments.slice(0, -drop).join('/')

  if (path.endsWith('/_oci/ext/discover')) return named({ kind: 'discoverIn', name: name(3) })
  if (before === 'tags' && last === 'list') return named({ kind: 'tags', name: name(2) })
  if (segments.at(-3) === 'blobs' && before === 'uploads') {
    return last === ''
      ? named({ kind: 'uploads', name: name(3) })
      : named({ kind: 'upload', name: name(3), last: decoded(last) })
  }
  if (before === 'blobs' && last === 'uploads') return named({ kind: 'uploads', name: name(2) })
  const kind = before === undefined ? undefined : KINDS[before]
  return kind === undefined || last === ''
    ? undefined
    : named({ kind, name: name(2), last: decoded(last) })
}

/**
 * The URL to route instead of the one that was sent; its query is kept. With a namespace the
 * repository is the one of that registry: `nginx` with `ns=docker.io` is `docker.io/nginx`, which is
 * how mirrors that put the namespace in the path ask for it.
 */
export function rewriteUrl(url: string): string {
  const target = originForm(url)
  const queryAt = target.search(/[?#]/)
  const path = queryAt === -1 ? target : target.slice(0, queryAt)
  const query = queryAt === -1 ? '' : target.slice(queryAt)
  const endpoint = parsePath(path)
  const namespace = namespaceOf(query)
  if (endpoint === undefined || namespace === undefined || !('name' in endpoint)) {
    return routePath(endpoint) + query
  }
  const prefix = namespacePrefix(namespace)
  if (endpoint.name.startsWith(prefix)) return routePath(endpoint) + query
  return routePath({ ...endpoint, name: prefix + endpoint.name }) + query
}

/** The path and query of a URL as it was sent. */
export function originForm(url: string): string {
  return url.replace(ABSOLUTE_FORM, '/')
}

/**
 * The registry that a request to a mirror was meant for.
 *
 * @see OCI distribution-spec, "Registry Proxying"
 */
export function namespaceOf(query: string): string | undefined {
  const from = query.indexOf('?')
  if (from === -1 || !query.includes('ns=')) return undefined
  return new URLSearchParams(query.slice(from).replace(/#.*$/s, '')).get('ns') || undefined
}

/** The names that containerd and docker have for one and the same registry. */
const DOCKER_HUB = ['docker.io', 'index.docker.io', 'registry-1.docker.io']

/** A host as the first part of a repository's name, which has no room for capitals and colons. */
export function namespacePrefix(namespace: string): string {
  const host = namespace.toLowerCase()
  return DOCKER_HUB.includes(host) ? 'docker.io/' : `${host.replace(/:(?=\d+$)/, '_')}/`
}

// RFC 9112 section 3.2.2: a server must accept "GET http://host/path" too, as sent to a proxy.
const ABSOLUTE_FORM = /^https?:\/\/[^/?#]*\/?/i

const KINDS: Readonly<Record<string, 'blob' | 'manifest' | 'referrers'>> = {
  __proto__: null as never,
  blobs: 'blob',
  manifests: 'manifest',
  referrers: 'referrers'
}

function named(endpoint: Endpoint & { name: string }): Endpoint | undefined {
  return endpoint.name === '' ? undefined : endpoint
}

/** Some clients encode the colon of a digest. What does not decode is kept, and found invalid later. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

function routePath(endpoint: Endpoint | undefined): string {
  if (endpoint === undefined) return NOWHERE
  let path: string = ROUTES[endpoint.kind]
  if ('name' in endpoint) path = path.replace(':name', () => encodeURIComponent(endpoint.name))
  if ('last' in endpoint) path = path.replace(':last', () => encodeURIComponent(endpoint.last))
  return path
}
