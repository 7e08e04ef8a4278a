import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { formatSbom } from '../../lib/core/sbom.ts'
import { sbom } from '../../lib/sbom.ts'

const root = resolve(import.meta.dir, '../..')

interface Bom {
  components: { 'bom-ref': string; name: string; version: string; hashes?: { content: string }[] }[]
  dependencies: { ref: string; dependsOn?: string[] }[]
}

const hash = `sha512-${'A'.repeat(86)}==`

const made = (packages: Record<string, unknown>, dependencies: Record<string, string>): Bom =>
  JSON.parse(
    formatSbom({
      name: 'tool',
      version: '1.0.0',
      commit: 'abc',
      license: 'MIT',
      bun: '1.4.5',
      dependencies,
      // Bun writes a comma behind the last member
      lock: JSON.stringify({ packages }).replace(/\}\}$/, '},}'),
    }),
  )

test('names every package that runs with its hash, and none that only builds or tests', () => {
  const bom = JSON.parse(sbom()) as Bom
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    'dependencies' | 'devDependencies',
    Record<string, string>
  >
  const refs = bom.components.map(part => part['bom-ref'])
  const ref = ([name, version]: [string, string]) => `pkg:npm/${name.replace('@', '%40')}@${version}`
  for (const part of Object.entries(manifest.dependencies)) expect(refs).toContain(ref(part))
  for (const part of Object.entries(manifest.devDependencies)) expect(refs).not.toContain(ref(part))
  for (const { name, hashes } of bom.components)
    if (name !== 'bun') expect([name, hashes?.[0]?.content.length]).toEqual([name, 128])
  const known = new Set([...refs, bom.dependencies[0]?.ref])
  expect(bom.dependencies.flatMap(one => one.dependsOn ?? []).filter(to => !known.has(to))).toEqual([])
  expect(sbom()).toBe(sbom())
})

test('finds the version that lies beside a package before the one further up', () => {
  const { components, dependencies } = made(
    {
      a: ['a@1.0.0', '', { dependencies: { c: '*' } }, hash],
      b: ['b@1.0.0', '', { dependencies: { c: '*' }, optionalDependencies: { absent: '*' } }, hash],
      c: ['c@2.0.0', '', {}, hash],
      'a/c': ['c@1.0.0', '', {}, hash],
      unused: ['unused@1.0.0', '', {}, hash],
    },
    { a: '1.0.0', b: '1.0.0' },
  )
  expect(components.map(({ name, version }) => `${name} ${version}`)).toEqual([
    'bun 1.4.5',
    'a 1.0.0',
    'b 1.0.0',
    'c 1.0.0',
    'c 2.0.0',
  ])
  const needs = Object.fromEntries(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]))
  expect([needs['pkg:npm/a@1.0.0'], needs['pkg:npm/b@1.0.0']]).toEqual([
    ['pkg:npm/c@1.0.0'],
    ['pkg:npm/c@2.0.0'],
  ])
})

test('refuses a lockfile of another form', () => {
  expect(() => made({ a: ['a@1.0.0'] }, { a: '1.0.0' })).toThrow('bun.lock')
})
