/** The layers of the sources and who may import whom (design: core ← sql ← edge ← client ← entries). */
import { posix } from 'node:path'

/** Pure parsers that core may import, each with the decision that let it in. */
export const parsersInCore: Record<string, string> = {
  zod: 'docs/adr/0002-parsers-in-core.md',
  '@peculiar/x509': 'docs/adr/0002-parsers-in-core.md',
  '@peculiar/asn1-x509': 'docs/adr/0002-parsers-in-core.md',
  'reflect-metadata': 'docs/adr/0002-parsers-in-core.md',
  'tar-stream': 'docs/adr/0002-parsers-in-core.md',
}

const cryptography = /^@noble\/|^@scure\/base$/

/** A package with an effect has one wrapper, so that a better one can replace it. */
const wrappers: Record<string, RegExp> = {
  zx: /^lib\/edge\/shell\.ts$/,
  mysql2: /^lib\/edge\/mysqld?(_[a-z]+)?\.ts$/,
  '@google-cloud/kms': /^lib\/edge\/kms(_[a-z]+)?(\/[a-z_]+)?\.ts$/,
  'google-auth-library': /^lib\/edge\/google_auth\.ts$/,
  '@grpc/grpc-js': /^lib\/edge\/kms(_[a-z]+)?(\/[a-z_]+)?\.ts$/,
  '@grpc/proto-loader': /^lib\/edge\/kms_emulator\/[a-z_]+\.ts$/,
  'bun:ffi': /^lib\/edge\/(lock|syslog|host\/exchange|kms_pkcs11\/cryptoki)\.ts$/,
  bun: /^lib\/edge\/compile\.ts$/,
  commander: /^lib\/cli\.ts$/,
  'cli-progress': /^lib\/progress\.ts$/,
  'csv-parse': /^lib\/client\/import_records\.ts$/,
  diff: /^lib\/edge\/owned_files\.ts$/,
  'cli-table3': /^lib\/[a-z_]+\.ts$/,
}

type Layer = 'core' | 'sql' | 'edge' | 'client' | 'top' | 'entry' | 'manifest' | 'unknown'

function layerOf(path: string): Layer {
  if (path === 'package.json' || path === 'bun.lock') return 'manifest'
  if (/^lib\/[a-z_]+\.ts$/.test(path)) return 'top'
  const inLib = /^lib\/(core|edge|client)\//.exec(path)?.[1]
  if (inLib !== undefined) return inLib as Layer
  if (path.startsWith('sql/')) return 'sql'
  return /^(outside|vm|scripts)\/[a-z_]+\.ts$/.test(path) ? 'entry' : 'unknown'
}

const mayImport: Record<Layer, Layer[]> = {
  core: ['core'],
  sql: ['core', 'sql'],
  edge: ['core', 'sql', 'edge'],
  client: ['core', 'sql', 'edge', 'client'],
  top: ['core', 'edge', 'top', 'manifest'],
  entry: ['core', 'sql', 'edge', 'client', 'top'],
  manifest: [],
  unknown: [],
}

const computed = '(a computed name)'

/** Every module that a source names, type imports and dynamic ones included. */
export function importsOf(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[\s;])\/\/.*$/gm, '$1')
  const names = new Bun.Transpiler({ loader: 'ts' })
    .scanImports(source.replace(/^#!.*/, ''))
    .map(({ path }) => path)
  for (const pattern of [
    /(?:^|[\n;])\s*(?:import|export)\b[\w\s{},*$]*?\bfrom\s*['"]([^'"]+)['"]/g,
    /(?:^|[\n;])\s*import\s*['"]([^'"]+)['"]/g,
    /\b(?:import|require)\s*\(\s*['"]([^'"]+)['"]/g,
  ])
    for (const match of code.matchAll(pattern)) if (match[1] !== undefined) names.push(match[1])
  if (/(?<![.\w])(?:import|require)\s*\(\s*[^'"\s]/.test(code)) names.push(computed)
  return [...new Set(names)]
}

const packageOf = (name: string): string =>
  name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : (name.split('/')[0] ?? name)

function packageAllowed(path: string, layer: Layer, name: string): boolean {
  if (name.startsWith('node:')) return layer !== 'core' && layer !== 'sql'
  const wrapper = wrappers[packageOf(name)]
  if (wrapper) return wrapper.test(path)
  return cryptography.test(name) || packageOf(name) in parsersInCore
}

/** What a file imports in breach of the layers, as `path: what`. */
export function breachesOf(path: string, source: string): string[] {
  const layer = layerOf(path)
  if (layer === 'unknown') return [`${path}: belongs to no layer`]
  return importsOf(source).flatMap(name => {
    if (name === computed) return [`${path}: imports ${name}`]
    if (!name.startsWith('.'))
      return packageAllowed(path, layer, name) ? [] : [`${path}: ${layer} may not import ${name}`]
    const target = posix.join(posix.dirname(path), name)
    const there = layerOf(target)
    const constant = target === 'lib/version.ts' && layer !== 'core' // who wrote a file says its version
    return mayImport[layer].includes(there) || constant
      ? []
      : [`${path}: ${layer} may not import ${there} ${target}`]
  })
}

const outside =
  /(?<![.\w])(?:process|Bun|console|Deno)\s*\.|(?<![.\w])(?:fetch|setTimeout|setInterval)\s*\(|\bDate\.now\b|\bnew Date\(\)/

/** What of the outside a core file touches without importing it: environment, clock, network, terminal. */
export function impuritiesOf(path: string, source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[\s;])\/\/.*$/gm, '$1')
  const found = outside.exec(code)?.[0]
  return found === undefined ? [] : [`${path}: touches ${found.trim()}`]
}
