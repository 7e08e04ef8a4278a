/** The parts of a tool as CycloneDX 1.6, from its package.json and Bun's lockfile; the same inputs give the same bytes. */
import { z } from 'zod'
import { fromBase64, toHex } from './bytes.ts'
import { ZtError } from './errors.ts'

const dependencies = z.record(z.string(), z.string()).optional()
const lockSchema = z.object({
  packages: z.record(
    z.string(),
    // name@version, registry, what it asks for, integrity
    z.tuple([
      z.string(),
      z.string(),
      z.object({ dependencies, optionalDependencies: dependencies, peerDependencies: dependencies }),
      z.string(),
    ]),
  ),
})

export interface SbomInput {
  name: string
  version: string
  commit: string
  license: string
  /** Of the runtime that the binary carries. */
  bun: string
  /** Direct ones that run; what only builds and tests is no part of the tool. */
  dependencies: Record<string, string>
  /** Text of bun.lock. */
  lock: string
}

interface Package {
  name: string
  version: string
  integrity: string
  needs: string[]
}

/** Bun's lockfile is JSON with commas before closing brackets. @throws BAD_FORMAT */
function readLock(text: string): Map<string, Package> {
  const json = text.replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, (_all, string?: string) => string ?? '')
  const parsed = lockSchema.safeParse(JSON.parse(json))
  if (!parsed.success) throw new ZtError('BAD_FORMAT', `bun.lock: ${parsed.error.issues[0]?.message}`)
  return new Map(
    Object.entries(parsed.data.packages).map(([key, [ident, , asks, integrity]]) => {
      const at = ident.lastIndexOf('@')
      const needs = [asks.dependencies, asks.optionalDependencies, asks.peerDependencies]
      return [
        key,
        {
          name: ident.slice(0, at),
          version: ident.slice(at + 1),
          integrity,
          needs: needs.flatMap(some => Object.keys(some ?? {})),
        },
      ]
    }),
  )
}

/** The key under which `name` is found from the package at `key`: beside it first, then further up. */
function resolve(packages: ReadonlyMap<string, Package>, key: string, name: string): string | undefined {
  for (let at = key; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('/'))))
    if (packages.has(`${at}/${name}`)) return `${at}/${name}`
  return packages.has(name) ? name : undefined // absent: optional, or of another platform
}

const purl = ({ name, version }: { name: string; version: string }): string =>
  `pkg:npm/${name.replace('@', '%40')}@${version}`

const named = (name: string): { group?: string; name: string } => {
  const [group, rest] = name.startsWith('@') ? name.split('/') : []
  return group === undefined || rest === undefined ? { name } : { group, name: rest }
}

/** SHA-512 as the lockfile has it, in hex. */
const sha512 = (integrity: string): string =>
  toHex(fromBase64(integrity.replace(/^sha512-/, ''), 'integrity of a package', 64))

/** @throws BAD_FORMAT */
export function formatSbom({ name, version, commit, license, bun, ...input }: SbomInput): string {
  const packages = readLock(input.lock)
  const reached = new Map<string, string[]>()
  const queue = Object.keys(input.dependencies).flatMap(direct => resolve(packages, '', direct) ?? [])
  const roots = [...queue]
  for (const key of queue) {
    if (reached.has(key)) continue
    const needs = (packages.get(key)?.needs ?? []).flatMap(need => resolve(packages, key, need) ?? [])
    reached.set(key, needs)
    queue.push(...needs)
  }
  const partOf = (key: string): Package => {
    const found = packages.get(key)
    if (!found) throw new ZtError('INTERNAL', `no package ${key}`)
    return found
  }
  const refs = (keys: readonly string[]): string[] => [...new Set(keys.map(key => purl(partOf(key))))].sort()
  const self = `pkg:generic/${name}@${version}`
  const runtime = `pkg:npm/bun@${bun}`
  // one version may lie in several places
  const parts = new Map([...reached.keys()].map(key => [purl(partOf(key)), key]))
  const sorted = [...parts].sort(([a], [b]) => (a < b ? -1 : 1))
  const bom = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': self,
        name,
        version,
        purl: self,
        licenses: [{ license: { id: license } }],
        properties: [{ name: 'ztmysql:commit', value: commit }],
      },
    },
    components: [
      { type: 'platform', 'bom-ref': runtime, name: 'bun', version: bun, purl: runtime },
      ...sorted.map(([ref, key]) => ({
        type: 'library',
        'bom-ref': ref,
        ...named(partOf(key).name),
        version: partOf(key).version,
        purl: ref,
        hashes: [{ alg: 'SHA-512', content: sha512(partOf(key).integrity) }],
      })),
    ],
    dependencies: [
      { ref: self, dependsOn: [...refs(roots), runtime].sort() },
      { ref: runtime },
      ...sorted.map(([ref, key]) => ({ ref, dependsOn: refs(reached.get(key) ?? []) })),
    ],
  }
  return `${JSON.stringify(bom, null, 1)}\n`
}
