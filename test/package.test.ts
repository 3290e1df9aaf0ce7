import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>
  >
}

test('the lockfile has every optional platform package, or npm ci refuses it', async () => {
  const { packages } = JSON.parse(await text('package-lock.json')) as Lock
  const absent = Object.entries(packages).flatMap(([parent, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      name =>
        packages[`node_modules/${name}`] === undefined &&
        packages[`${parent}/node_modules/${name}`] === undefined
    )
  )
  assert.deepEqual(absent, [])
})

test('every dependency is pinned exactly', async () => {
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(
    await text('package.json')
  ) as Record<string, Record<string, string>>
  const versions = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
  const loose = versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))
  assert.deepEqual(loose, [])
})

function text(name: string): Promise<string> {
  return readFile(new URL(`../${name}`, import.meta.url), 'utf8')
}
