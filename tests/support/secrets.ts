/** Every secret of a recorded deployment, as its holders have it; and every place where one could have been left. */
import { createPrivateKey } from 'node:crypto'
import { type Dirent, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { openDataKeys } from '../../lib/client/data_keys.ts'
import { readKemSeed } from '../../lib/client/files.ts'
import { tenantKms } from '../../lib/client/kms.ts'
import { openSession } from '../../lib/client/session.ts'
import { parseAnchorKey } from '../../lib/core/audit/anchor_key.ts'
import { type Bytes, fromBase64, uuidBytes } from '../../lib/core/bytes.ts'
import { parseIssuerFile } from '../../lib/core/envelope/key_files.ts'
import { blindPurpose, recordPurpose } from '../../lib/core/envelope/key_name.ts'
import { openRecordKey } from '../../lib/core/envelope/record_key.ts'
import { openSealedFile } from '../../lib/core/envelope/sealed_file.ts'
import { unpackArchive } from '../../lib/edge/archive.ts'
import type { DemoTenant, Scene } from '../../lib/edge/demo/scene.ts'
import { openKms } from '../../lib/edge/kms.ts'
import { decryptKey } from '../../lib/edge/pki/keys.ts'
import { readPki } from '../../lib/edge/pki.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { definitionOf } from './live.ts'
import type { Recorded } from './recorded.ts'
import type { Secret } from './seeker.ts'

const text = (path: string): string => readFileSync(path, 'utf8')
const namesIn = (folder: string, end: string): string[] =>
  readdirSync(folder)
    .filter(name => name.endsWith(end))
    .map(name => name.slice(0, -end.length))

/** What is kept in files: passphrase, passwords, seeds, private keys, tokens, the master keys of the KMS. */
export async function secretsInFiles(scene: Scene): Promise<Secret[]> {
  const passphrase = text(scene.passphrase).trim()
  const pki = (...names: string[]) => scene.at('pki', ...names)
  const anchor = parseAnchorKey(readFileSync(scene.at('anchor', 'anchor_key.json')))
  const issuers = namesIn(pki('issuers'), '-issuer.json').map(label => {
    const file = `${label}-issuer.json`
    const inner = openSealedFile(file, readFileSync(pki('issuers', file)), passphrase)
    return { label: `issuer seed of ${label}`, value: parseIssuerFile(inner, file).seed }
  })
  const sealed = [
    ...namesIn(pki('ca'), '-key.pem').map(name => ['ca', name, 'P-384'] as const),
    ...namesIn(pki('administrators'), '-key.pem').map(name => ['administrators', name, 'P-256'] as const),
  ]
  const sealedKeys = await Promise.all(
    sealed.map(async ([folder, name, curve]): Promise<Secret> => {
      const { scalar } = await decryptKey(text(pki(folder, `${name}-key.pem`)), passphrase, curve, name)
      return { label: `sealed key of ${folder}`, value: scalar }
    }),
  )
  const state = JSON.parse(text(scene.at('kms', 'state.json'))) as {
    cryptoKeys: Record<string, { versions: { material: string }[] }>
  }
  return [
    { label: 'passphrase', value: passphrase },
    ...readPki(pki()).accounts.flatMap(({ account, password }) =>
      password === null ? [] : [{ label: `password of ${account}`, value: password }],
    ),
    { label: 'anchor seed, Ed25519', value: anchor.ed25519 },
    { label: 'anchor seed, ML-DSA-44', value: anchor.mldsa44 },
    ...issuers,
    ...sealedKeys,
    ...['clients', 'probes', 'server'].flatMap(folder =>
      namesIn(pki(folder), '-key.pem').map(name => ({
        label: `private key of ${name}`,
        value: scalarIn(pki(folder, `${name}-key.pem`)),
      })),
    ),
    ...scene.tenants.map(({ label, tokenFile }) => ({
      label: `token of ${label}`,
      value: text(tokenFile).trim(),
    })),
    ...Object.entries(state.cryptoKeys).flatMap(([name, { versions }]) =>
      versions.map(({ material }) => ({
        label: `KMS key ${name.split('/').at(-1)}`,
        value: fromBase64(material, 'material', 32),
      })),
    ),
  ]
}

function scalarIn(path: string): Bytes {
  const { d = '' } = createPrivateKey(text(path)).export({ format: 'jwk' })
  return new Uint8Array(Buffer.from(d, 'base64url'))
}

/** What only clients have in memory: data keys and blind-index keys, KEM seeds, and the record keys of its people. */
export async function secretsOfClient(
  scene: Scene,
  tenant: DemoTenant,
  ids: readonly string[],
): Promise<Secret[]> {
  const trust = readTrust(scene.at('pki', 'trust'))
  const trusted = trust.tenants.find(({ label }) => label === tenant.label)
  if (trusted === undefined) throw new Error(`no tenant ${tenant.label}`)
  const kemSeed = tenant.kem === undefined ? undefined : readKemSeed(tenant.kem, trusted)
  const session = openSession(
    { defaultsFile: scene.at('pki', 'clients', `${tenant.account}.cnf`) },
    trusted.id,
  )
  const env = { KMS_EMULATOR_HOST: scene.kms, KMS_EMULATOR_TOKEN_FILE: tenant.tokenFile }
  const kms = tenantKms([tenant.kmsKey], key => openKms(key, { env, warn: () => undefined }))
  const def = definitionOf('data_keys')
  const keys = openDataKeys({
    tenant: trusted,
    def,
    session,
    kms,
    kemSeeds: kemSeed === undefined ? [] : [kemSeed],
    warn: () => undefined,
  })
  try {
    const secrets: Secret[] =
      kemSeed === undefined ? [] : [{ label: `KEM seed of ${tenant.label}`, value: kemSeed }]
    for (const purpose of [recordPurpose, blindPurpose('users', 'email'), blindPurpose('users', 'phone')]) {
      const { key } = await keys.active(purpose, 0)
      secrets.push({ label: `data key of ${tenant.label}, ${purpose}`, value: key.slice() })
    }
    for (const id of ids) {
      const [row] = await session.query(
        'SELECT record_key, BIN_TO_UUID(dek_id) AS dek FROM app_users WHERE id = ?',
        [uuidBytes(id)],
      )
      const dekId = String(row?.dek)
      const dek = await keys.forReading(dekId, 0)
      const place = { tenant: trusted.id, table: 'users', row: id }
      const value = openRecordKey(dek, dekId, place, row?.record_key as Bytes)
      secrets.push({ label: `record key of ${id}`, value })
    }
    return secrets
  } finally {
    keys.close()
    await kms.close()
    await session.close()
  }
}

export interface Place {
  /** `deployment/pki/pki_server.tar.gz!server.json` for a file of an archive. */
  name: string
  bytes: Uint8Array
}

/** Files below a folder, and those in archives among them; links are passed over, and what goes away meanwhile. */
async function* filesBelow(folder: string, name: string): AsyncGenerator<Place> {
  for (const { name: place, bytes } of plainFilesBelow(folder, name)) {
    yield { name: place, bytes }
    if (!place.endsWith('.tar.gz') || bytes[0] !== 0x1f) continue
    for (const [inner, content] of await unpackArchive(bytes, place, 1 << 28))
      yield { name: `${place}!${inner}`, bytes: content }
  }
}

function* plainFilesBelow(folder: string, name: string, maxBytes = 1 << 30): Generator<Place> {
  for (const entry of list(folder)) {
    const path = join(folder, entry.name)
    const place = `${name}/${entry.name}`
    if (entry.isDirectory()) yield* plainFilesBelow(path, place, maxBytes)
    if (!entry.isFile()) continue
    const bytes = contentOf(path, maxBytes)
    if (bytes !== undefined) yield { name: place, bytes }
  }
}

function list(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (thrown) {
    if (isGone(thrown)) return []
    throw thrown
  }
}

function contentOf(path: string, maxBytes: number): Uint8Array | undefined {
  try {
    return statSync(path).size > maxBytes ? undefined : readFileSync(path)
  } catch (thrown) {
    if (isGone(thrown)) return undefined
    throw thrown
  }
}

const isGone = (thrown: unknown): boolean =>
  ['ENOENT', 'EACCES', 'ENOTDIR'].includes(String((thrown as NodeJS.ErrnoException).code))

/** `seen/pq_envelope_cli read/stdout`: runs go by what was asked of them. */
function runName(folder: string): string {
  const [, program = '', ...args] = text(join(folder, 'argv')).split('\0')
  return `${program.split('/').at(-1)} ${args.find(arg => /^[a-z][a-z-]*$/.test(arg)) ?? ''}`.trim()
}

/** Everything that the deployment and its programs left. */
export async function* placesOf(recorded: Recorded): AsyncGenerator<Place> {
  yield* filesBelow(recorded.scene.options.dir, 'deployment')
  yield* filesBelow(recorded.server.dir, 'mysql')
  yield* filesBelow(recorded.tmp, 'tmp')
  for (const run of readdirSync(recorded.seen)) {
    const folder = join(recorded.seen, run)
    for (const what of ['argv', 'environ', 'stdout', 'stderr'])
      yield { name: `seen/${runName(folder)}/${what}`, bytes: readFileSync(join(folder, what)) }
  }
  for (const name of readdirSync(recorded.dir).filter(entry => entry.startsWith('performance_schema-')))
    yield* filesBelow(join(recorded.dir, name), 'performance_schema')
  yield { name: 'ps', bytes: readFileSync(join(recorded.dir, 'ps')) }
}

/** What came into the system's temporary folder since `before` was listed, whoever put it there. */
export function* newInTmp(before: ReadonlySet<string>, own: readonly string[]): Generator<Place> {
  for (const entry of list('/tmp')) {
    const path = join('/tmp', entry.name)
    if (before.has(entry.name) || own.some(folder => !relative(path, folder).startsWith('..'))) continue
    if (entry.isDirectory()) yield* plainFilesBelow(path, `/tmp/${entry.name}`, 1 << 20)
    else if (entry.isFile()) yield { name: path, bytes: contentOf(path, 1 << 20) ?? new Uint8Array() }
  }
}

/** A folder for what tests write themselves. */
export function workFolder(recorded: Recorded, name: string): Disposable & { at: (file: string) => string } {
  const folder = join(recorded.dir, name)
  mkdirSync(folder, { mode: 0o700 })
  return {
    at: file => join(folder, file),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
