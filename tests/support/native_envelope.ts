/**
 * A second implementation of SPEC §3 and §6.5, written from that page alone on the platform's cryptography (node:crypto
 * and WebCrypto). Shares no code with lib/.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  randomBytes,
  randomUUID,
  scryptSync,
} from 'node:crypto'

type Part = string | Uint8Array
export type Cells = Record<string, string | number | bigint | Uint8Array | null>

interface Definition {
  table: string
  scheme: string
  key: { name: string }
  states: readonly [string, string]
  columns: readonly { kind: string; name: string; type?: string; of?: string; normalise?: string }[]
}

export interface NativeWrap {
  suite: string
  kmsKey: string
  kmsCiphertext: Uint8Array
  kemCiphertext: Uint8Array | null
  kemFingerprint: Uint8Array | null
  sealedKey: Uint8Array
  wrapCommit: Uint8Array
}

interface Name {
  tenant: string
  id: string
  purpose: string
}

const suiteOfFields = 'hkdf-sha256/aes-256-gcm'

export function lp(...parts: Part[]): Buffer {
  const length = (n: number) => {
    const b = Buffer.alloc(4)
    b.writeUInt32BE(n)
    return b
  }
  return Buffer.concat([
    length(parts.length),
    ...parts.flatMap(part => {
      const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : Buffer.from(part)
      return [length(bytes.length), bytes]
    }),
  ])
}

const sha256 = (...parts: Uint8Array[]): Buffer =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const mac = (key: Uint8Array, message: Uint8Array): Buffer =>
  createHmac('sha256', key).update(message).digest()
// Not hkdfSync: it takes at most 1,024 bytes of info. For 32 bytes HKDF is two HMACs (RFC 5869 §2).
const hkdf = (ikm: Uint8Array, salt: string, info: Uint8Array): Buffer =>
  mac(mac(Buffer.from(salt), ikm), Buffer.concat([info, Buffer.of(1)]))

export function gcmSeal(key: Uint8Array, plaintext: Uint8Array, aad: Uint8Array): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  cipher.setAAD(aad)
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

export function gcmOpen(key: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12))
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

export const dekCommit = (name: Name, key: Uint8Array): Buffer =>
  hkdf(key, '', lp('ztmysql/v1/dek-commit', name.tenant, name.id))

export const kmsAad = (suite: string, name: Name): Buffer =>
  lp('ztmysql/v1/kms', suite, name.tenant, name.id, name.purpose)

const issueMessage = (name: Name, commit: Uint8Array): Buffer =>
  lp('ztmysql/v1/key-issue', name.tenant, name.id, name.purpose, commit)

/** WebCrypto as Bun has it; its types do not know the FIPS 203 and 204 algorithms yet. */
const subtle = crypto.subtle as unknown as {
  importKey(
    format: string,
    data: Uint8Array,
    algorithm: string,
    ext: boolean,
    uses: string[],
  ): Promise<object>
  exportKey(format: string, key: object): Promise<ArrayBuffer>
  sign(algorithm: string, key: object, data: Uint8Array): Promise<ArrayBuffer>
  verify(algorithm: string, key: object, signature: Uint8Array, data: Uint8Array): Promise<boolean>
  encapsulateBits(
    algorithm: string,
    key: object,
  ): Promise<{ ciphertext: ArrayBuffer; sharedKey: ArrayBuffer }>
  decapsulateBits(algorithm: string, key: object, ciphertext: Uint8Array): Promise<ArrayBuffer>
}

export async function signIssue(seed: Uint8Array, name: Name, commit: Uint8Array): Promise<Buffer> {
  const key = await subtle.importKey('raw-seed', seed, 'ML-DSA-65', false, ['sign'])
  return Buffer.from(await subtle.sign('ML-DSA-65', key, issueMessage(name, commit)))
}

export async function verifyIssue(
  publicKey: Uint8Array,
  name: Name,
  commit: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const key = await subtle.importKey('raw-public', publicKey, 'ML-DSA-65', true, ['verify'])
  return subtle.verify('ML-DSA-65', key, signature, issueMessage(name, commit))
}

function wrapKeys(name: Name, wrap: Omit<NativeWrap, 'sealedKey' | 'wrapCommit'>, ikm: Uint8Array) {
  const context = [
    wrap.suite,
    name.tenant,
    name.id,
    name.purpose,
    wrap.kmsKey,
    wrap.kmsCiphertext,
    wrap.kemCiphertext ?? '',
    wrap.kemFingerprint ?? '',
  ]
  const salt = 'ztmysql/v1/wrap-salt'
  return {
    key: hkdf(ikm, salt, lp('ztmysql/v1/wrap', ...context)),
    commit: hkdf(ikm, salt, lp('ztmysql/v1/commit', ...context)),
    aad: lp('ztmysql/v1/dek', wrap.suite, name.tenant, name.id, name.purpose),
  }
}

export async function wrapKey(
  name: Name,
  dataKey: Uint8Array,
  kms: { key: string; secret: Uint8Array; ciphertext: Uint8Array },
  kemPublic?: Uint8Array,
): Promise<NativeWrap> {
  let share: { ciphertext: Buffer; secret: Buffer } | undefined
  if (kemPublic !== undefined) {
    const key = await subtle.importKey('raw-public', kemPublic, 'ML-KEM-768', true, ['encapsulateBits'])
    const { ciphertext, sharedKey } = await subtle.encapsulateBits('ML-KEM-768', key)
    share = { ciphertext: Buffer.from(ciphertext), secret: Buffer.from(sharedKey) }
  }
  const legs = {
    suite: share ? 'kms+ml-kem-768' : 'kms',
    kmsKey: kms.key,
    kmsCiphertext: kms.ciphertext,
    kemCiphertext: share?.ciphertext ?? null,
    kemFingerprint: kemPublic ? sha256(kemPublic) : null,
  }
  const { key, commit, aad } = wrapKeys(
    name,
    legs,
    Buffer.concat([kms.secret, share?.secret ?? Buffer.alloc(0)]),
  )
  return { ...legs, sealedKey: gcmSeal(key, dataKey, aad), wrapCommit: commit }
}

export async function unwrapKey(
  name: Name,
  wrap: NativeWrap,
  kmsSecret: Uint8Array,
  kemSeed?: Uint8Array,
): Promise<Buffer> {
  let secret = Buffer.alloc(0)
  if (wrap.suite === 'kms+ml-kem-768' && wrap.kemCiphertext && kemSeed) {
    const key = await subtle.importKey('raw-seed', kemSeed, 'ML-KEM-768', false, ['decapsulateBits'])
    secret = Buffer.from(await subtle.decapsulateBits('ML-KEM-768', key, wrap.kemCiphertext))
  }
  const { key, commit, aad } = wrapKeys(name, wrap, Buffer.concat([kmsSecret, secret]))
  if (!commit.equals(Buffer.from(wrap.wrapCommit))) throw new Error('wrap_commit')
  return gcmOpen(key, wrap.sealedKey, aad)
}

const recordAad = (tenant: string, table: string, row: string, dek: string): Buffer =>
  lp('ztmysql/v1/record', tenant, table, row, dek)
const fieldKey = (
  recordKey: Uint8Array,
  tenant: string,
  table: string,
  column: string,
  row: string,
): Buffer => hkdf(recordKey, '', lp('ztmysql/v1/field', suiteOfFields, tenant, table, column, row))
const cellAad = (tenant: string, table: string, column: string, row: string, version: string): Buffer =>
  lp('ztmysql/v1/cell', suiteOfFields, tenant, table, column, row, version)

export const blindIndex = (
  key: Uint8Array,
  tenant: string,
  table: string,
  column: string,
  text: string,
): Buffer => mac(key, lp('ztmysql/v1/blind', tenant, table, column, text)).subarray(0, 16)

const normalise: Record<string, (text: string) => string> = {
  email: text => text.normalize('NFC').trim().toLowerCase(),
  phone: text => text.replaceAll(/[ ()\-.]/g, ''),
}

function valueBytes(value: string | number | bigint | Uint8Array, type: string): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value)
  return type === 'uuid' ? Buffer.from(String(value).replaceAll('-', ''), 'hex') : Buffer.from(String(value))
}

function macOf(def: Definition, row: Cells, recordKey: Uint8Array): Buffer {
  const [tenant, id] = [String(row.tenant_id), String(row[def.key.name])]
  const parts = def.columns.map(({ name, type = 'bytes' }) => {
    const value = row[name] ?? null
    return value === null ? Buffer.of(0) : Buffer.concat([Buffer.of(1), valueBytes(value, type)])
  })
  const head = [def.scheme, tenant, def.table, id, String(row.version), String(row.state)]
  const key = hkdf(recordKey, '', lp('ztmysql/v1/row-mac', tenant, def.table, id))
  return mac(key, lp('ztmysql/v1/row', ...head, ...parts, suiteOfFields))
}

export function sealRow(
  def: Definition,
  keys: { dekId: string; dek: Uint8Array; blind: ReadonlyMap<string, Uint8Array> | null },
  head: { tenant: string; key: string; version: number },
  plain: Record<string, string | number | null>,
): Cells {
  const { tenant, key: id, version } = head
  const recordKey = randomBytes(32)
  const row: Cells = {
    tenant_id: tenant,
    [def.key.name]: id,
    version,
    wrap_version: 1,
    state: def.states[0],
    field_suite: suiteOfFields,
    dek_id: keys.dekId,
    record_key: gcmSeal(keys.dek, recordKey, recordAad(tenant, def.table, id, keys.dekId)),
    salt: randomBytes(16),
  }
  for (const column of def.columns) {
    const value = plain[column.of ?? column.name] ?? null
    if (value === null || column.kind === 'clear') row[column.name] = value
    else if (column.kind === 'sealed')
      row[column.name] = gcmSeal(
        fieldKey(recordKey, tenant, def.table, column.name, id),
        Buffer.from(String(value)),
        cellAad(tenant, def.table, column.name, id, String(version)),
      )
    else {
      const key = keys.blind?.get(column.of ?? '')
      const normal = normalise[column.normalise ?? '']?.(String(value)) ?? ''
      row[column.name] = key ? blindIndex(key, tenant, def.table, column.of ?? '', normal) : null
    }
  }
  row.mac = macOf(def, row, recordKey)
  return row
}

export function openRow(def: Definition, dek: Uint8Array, row: Cells): Record<string, Cells[string]> {
  const [tenant, id, dekId] = [row.tenant_id, row[def.key.name], row.dek_id].map(String) as [
    string,
    string,
    string,
  ]
  const recordKey = gcmOpen(dek, row.record_key as Uint8Array, recordAad(tenant, def.table, id, dekId))
  if (!macOf(def, row, recordKey).equals(Buffer.from(row.mac as Uint8Array))) throw new Error('mac')
  const plain: Record<string, Cells[string]> = {}
  for (const { kind, name } of def.columns) {
    const value = row[name] ?? null
    if (kind === 'clear' || value === null) plain[name] = value
    else if (kind === 'sealed')
      plain[name] = gcmOpen(
        fieldKey(recordKey, tenant, def.table, name, id),
        value as Uint8Array,
        cellAad(tenant, def.table, name, id, String(row.version)),
      ).toString('utf8')
  }
  for (const { kind, name } of def.columns) if (kind === 'blind') delete plain[name]
  return plain
}

/** §6.5 */
export function openSealedFile(name: string, text: string, passphrase: string): Buffer {
  const file = JSON.parse(text) as {
    n: number
    r: number
    p: number
    salt: string
    nonce: string
    ciphertext: string
  }
  const key = scryptSync(passphrase.normalize('NFC'), Buffer.from(file.salt, 'base64'), 32, {
    N: file.n,
    r: file.r,
    p: file.p,
    maxmem: 1 << 28,
  })
  const sealed = Buffer.concat([Buffer.from(file.nonce, 'base64'), Buffer.from(file.ciphertext, 'base64')])
  return gcmOpen(key, sealed, lp('ztmysql/v1/sealed', name))
}

export function sealFile(name: string, plaintext: Uint8Array, passphrase: string): string {
  const salt = randomBytes(16)
  const key = scryptSync(passphrase.normalize('NFC'), salt, 32, { N: 131072, r: 8, p: 1, maxmem: 1 << 28 })
  const sealed = gcmSeal(key, plaintext, lp('ztmysql/v1/sealed', name))
  const [nonce, ciphertext] = [sealed.subarray(0, 12), sealed.subarray(12)].map(b => b.toString('base64'))
  return `${JSON.stringify({ v: 1, kind: 'ztmysql-sealed', kdf: 'scrypt', n: 131072, r: 8, p: 1, salt: salt.toString('base64'), nonce, ciphertext })}\n`
}

/** A data key of suite `kms` and a row under it; `encrypt` is the KMS. §3.7 */
export async function sealRecord(
  def: Definition,
  keyColumns: readonly string[],
  rowColumns: readonly string[],
  tenant: string,
  kmsKey: string,
  plain: Record<string, string | number | null>,
  encrypt: (plaintext: Uint8Array, aad: Uint8Array) => Promise<Uint8Array>,
): Promise<string> {
  const name = { tenant, id: randomUUID(), purpose: 'record' }
  const [dataKey, secret] = [randomBytes(32), randomBytes(32)]
  const wrap = await wrapKey(name, dataKey, {
    key: kmsKey,
    secret,
    ciphertext: await encrypt(secret, kmsAad('kms', name)),
  })
  const key: Cells = {
    tenant_id: tenant,
    id: name.id,
    version: 1,
    wrap_version: 1,
    state: 'active',
    purpose: 'record',
    suite: wrap.suite,
    kms_key: kmsKey,
    kms_ciphertext: wrap.kmsCiphertext,
    kem_ciphertext: null,
    kem_fingerprint: null,
    sealed_key: wrap.sealedKey,
    wrap_commit: wrap.wrapCommit,
    dek_commit: dekCommit(name, dataKey),
    issuer: null,
    issuer_sig: null,
    salt: randomBytes(16),
  }
  const head = { tenant, key: randomUUID(), version: 1 }
  const row = sealRow(def, { dekId: name.id, dek: dataKey, blind: null }, head, plain)
  const spell = (cells: Cells, columns: readonly string[]) =>
    Object.fromEntries(
      columns.map(column => {
        const value = cells[column] ?? null
        return [
          column,
          value instanceof Uint8Array
            ? Buffer.from(value).toString('base64')
            : value === null
              ? null
              : String(value),
        ]
      }),
    )
  const record = {
    v: 1,
    kind: 'ztmysql-sealed-record',
    table: def.table,
    key: spell(key, keyColumns),
    row: spell(row, rowColumns),
  }
  return `${JSON.stringify(record)}\n`
}
