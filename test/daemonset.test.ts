import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { Command } from 'commander'
import { validate as daemonSet } from 'kubernetes-models/_schemas/IoK8sApiAppsV1DaemonSet'
import { validate as namespace } from 'kubernetes-models/_schemas/IoK8sApiCoreV1Namespace'
import { validate as service } from 'kubernetes-models/_schemas/IoK8sApiCoreV1Service'
import { validate as serviceAccount } from 'kubernetes-models/_schemas/IoK8sApiCoreV1ServiceAccount'
import { validate as disruptionBudget } from 'kubernetes-models/_schemas/IoK8sApiPolicyV1PodDisruptionBudget'
import type { IDaemonSet } from 'kubernetes-models/apps/v1/DaemonSet'
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget'
import type { IService } from 'kubernetes-models/v1/Service'
import { parseAllDocuments } from 'yaml'
import { addSettings, loadConfig } from '../src/config.ts'

/** Sets `errors` on itself when it says no. */
type Validate = ((data: unknown) => boolean) & { readonly errors?: readonly SchemaError[] | null }
interface SchemaError {
  readonly instancePath: string
  readonly keyword: string
}

const SCHEMAS: Readonly<Record<string, Validate>> = {
  'v1/Namespace': namespace,
  'v1/Service': service,
  'v1/ServiceAccount': serviceAccount,
  'policy/v1/PodDisruptionBudget': disruptionBudget,
  'apps/v1/DaemonSet': daemonSet
}

/** What the kubelet puts in for `$(NAME)`. */
const POD = { NODE_NAME: 'worker-1', HOST_IP: '10.0.0.1' }

test('every object of the manifest is what the Kubernetes API expects, to the last key', async () => {
  const objects = await manifest()
  assert.equal(objects.length, Object.keys(SCHEMAS).length)
  for (const object of objects) {
    const name = `${object['apiVersion']}/${object['kind']}`
    const schema = SCHEMAS[name]
    assert.ok(schema, `no schema for ${name}`)
    assert.deepEqual(wrongs(schema, object), [], name)
  }
})

test('the check finds a key that is misspelt, of a wrong type or absent', async () => {
  const spoilt = async (from: string, to: string) => {
    const text = (await manifestText()).replace(from, to)
    const object = parse(text).find(({ kind }) => kind === 'DaemonSet')
    return wrongs(daemonSet, object)
  }
  assert.deepEqual(await spoilt('maxSurge: 0', 'maxsurge: 0'), [
    '/spec/updateStrategy/rollingUpdate/maxsurge: unknown'
  ])
  assert.deepEqual(await spoilt('hostNetwork: true', 'hostNetwork: "true"'), [
    '/spec/template/spec/hostNetwork: type'
  ])
  assert.deepEqual(await spoilt('mountPath: /etc/starling', 'path: /etc/starling'), [
    '/spec/template/spec/containers/0/volumeMounts/1: required',
    '/spec/template/spec/containers/0/volumeMounts/1/path: unknown'
  ])
  assert.deepEqual(await spoilt('apiVersion: apps/v1', 'apiVersion: apps/v1\nspecs: {}'), [
    '/specs: unknown'
  ])
})

test('the arguments are settings of this version', async () => {
  const { container } = await node()
  const [command, ...flags] = (container.args ?? []).map(expand)
  assert.equal(command, 'serve')
  const { config } = await loadConfig(addSettings(new Command()).parse(flags, USER).opts(), {})
  assert.equal(config.name, POD.NODE_NAME)
  assert.equal(config.advertise, POD.HOST_IP)
  assert.deepEqual(config.registry, [
    { host: '127.0.0.1', port: 5050 },
    { host: POD.HOST_IP, port: 5050 }
  ])
  assert.deepEqual(portsOf(container), {
    registry: config.registry[0]?.port,
    admin: config.admin.port,
    mesh: config.mesh.port,
    transfer: config.transfer.port
  })
  const mounts = container.volumeMounts ?? []
  const mounted = (path: string) => mounts.some(({ mountPath }) => path.startsWith(mountPath))
  assert.ok(mounted(config.dataDir) && mounted(config.secretFile ?? ''))
})

test('nodes find each other through the service before they are ready', async () => {
  const { pod, container } = await node()
  const found = await only<IService>('Service')
  const { name, namespace } = found.metadata ?? {}
  assert.ok(container.args?.includes(`--join=dns:${name}.${namespace}.svc:5052`))
  assert.equal(found.spec?.clusterIP, 'None')
  assert.equal(found.spec?.publishNotReadyAddresses, true)
  assert.deepEqual(found.spec?.selector, pod.metadata?.labels)
  const budget = await only<IPodDisruptionBudget>('PodDisruptionBudget')
  assert.deepEqual(budget.spec?.selector?.matchLabels, pod.metadata?.labels)
})

test('probes ask the admin port where it listens', async () => {
  const { container } = await node()
  assert.ok(container.args?.includes('--admin=127.0.0.1:5051'))
  const { startupProbe, livenessProbe, readinessProbe } = container
  for (const probe of [startupProbe, livenessProbe, readinessProbe]) {
    assert.equal(probe?.httpGet?.host, '127.0.0.1')
    assert.equal(probe?.httpGet?.port, 'admin')
  }
  assert.equal(startupProbe?.httpGet?.path, '/healthz')
  assert.equal(livenessProbe?.httpGet?.path, '/healthz')
  assert.equal(readinessProbe?.httpGet?.path, '/readyz')
})

const USER = { from: 'user' } as const

type Loose = Readonly<Record<string, unknown>>

function manifestText(): Promise<string> {
  return readFile(new URL('../daemonset/starling.yaml', import.meta.url), 'utf8')
}

async function manifest(): Promise<Loose[]> {
  return parse(await manifestText())
}

function parse(text: string): Loose[] {
  return parseAllDocuments(text).map(document => {
    assert.deepEqual(document.errors, [])
    return document.toJS() as Loose
  })
}

/** The one object of a kind; the first test has checked its shape. */
async function only<T>(kind: string): Promise<T> {
  const found = (await manifest()).filter(object => object['kind'] === kind)
  assert.equal(found.length, 1)
  return found[0] as T
}

async function node() {
  const pod = (await only<IDaemonSet>('DaemonSet')).spec?.template
  const [container] = pod?.spec?.containers ?? []
  assert.ok(pod && container)
  return { pod, container }
}

function portsOf(container: Awaited<ReturnType<typeof node>>['container']): Loose {
  return Object.fromEntries(
    (container.ports ?? []).map(({ name, containerPort }) => [name, containerPort])
  )
}

function expand(argument: string): string {
  return argument.replaceAll(/\$\((\w+)\)/g, (_, name: keyof typeof POD) => POD[name])
}

/**
 * What a schema has against an object, key by key. The compiled schemas let unknown keys pass, as
 * the API once did; but whatever they know they read, so a key that was never read is unknown.
 */
function wrongs(schema: Validate, object: unknown): string[] {
  const unread = new Set<string>()
  const valid = schema(watched(object, '', unread))
  const errors = valid ? [] : (schema.errors ?? [])
  return [
    ...errors.map(({ instancePath, keyword }) => `${instancePath}: ${keyword}`),
    ...[...unread].map(path => `${path}: unknown`)
  ]
}

/** A copy that takes each key off `unread` once it is read. */
function watched(value: unknown, path: string, unread: Set<string>): unknown {
  if (Array.isArray(value)) {
    return value.map((item, index) => watched(item, `${path}/${index}`, unread))
  }
  if (typeof value !== 'object' || value === null) return value
  const copy: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) {
    const itemPath = `${path}/${key}`
    unread.add(itemPath)
    const inner = watched(item, itemPath, unread)
    const get = () => {
      unread.delete(itemPath)
      return inner
    }
    Object.defineProperty(copy, key, { enumerable: true, get })
  }
  return copy
}
