/** Makes tests/vectors/envelope-rotation.json: `bun tests/vectors/rotation_vectors.ts`. */
import { join } from 'node:path'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat, toBase64, toHex, utf8 } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import type { Entropy } from '../../lib/core/envelope/aead.ts'
import { type DataKeyRecord, openDataKey } from '../../lib/core/envelope/data_key.ts'
import { dekCommit, issuerOf, issuerPublicKey, signIssue } from '../../lib/core/envelope/issuer.ts'
import { kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { openRecordKey, sealRecordKey } from '../../lib/core/envelope/record_key.ts'
import { openRow, sealRow } from '../../lib/core/envelope/row.ts'
import { placeOf } from '../../lib/core/envelope/row_mac.ts'
import { newDataKeyRow } from '../../lib/core/envelope/sealed_record.ts'
import { wrapKey } from '../../lib/core/envelope/wrap.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { rowToJson } from '../../lib/core/rows.ts'
import { type Row, tableSchema } from '../../lib/core/tables.ts'
import dataKeysJson from '../../sql/tables/data_keys.json' with { type: 'json' }
import usersJson from '../../sql/tables/users.json' with { type: 'json' }

const users = tableSchema.parse(usersJson)
const dataKeys = tableSchema.parse(dataKeysJson)
const tenant = '6f1c2a5e-8d3b-4c47-9a11-2b7e5d90c3f4'
const [oldId, newId] = ['d0a7c1b2-3e4f-4a5b-8c6d-7e8f90a1b2c3', '019b6f20-1a2b-7c3d-8e4f-5a6b7c8d9e0f']
const rowId = '3b9d6f20-1a2b-4c3d-8e4f-5a6b7c8d9e0f'
const keyOf = (name: string) =>
  `gcp-kms://projects/vectors/locations/europe-west1/keyRings/zt/cryptoKeys/${name}`

/** SHA-256(label ‖ counter) in place of randomness, so that a run repeats. */
function named(label: string): Entropy {
  let counter = 0
  return length => {
    const blocks: Bytes[] = []
    for (let have = 0; have < length; have += 32) blocks.push(sha256(utf8(`${label}/${counter++}`)))
    return concat(...blocks).slice(0, length)
  }
}
const one = (label: string, length = 32): Bytes => named(label)(length)

const issuerSeed = one('rotation issuer')
const name = { tenant, id: oldId, purpose: 'record' }
const key = one('rotation data key')
const commit = dekCommit(name, key)
const signed = {
  issuer: issuerOf(issuerPublicKey(issuerSeed)),
  issuerSig: signIssue(issuerSeed, name, commit),
}

interface Stage {
  readonly step: string
  readonly kms: string
  readonly kem?: string
}

/** One key through every wrap: only the wrap and the salt change. */
const stages: Stage[] = [
  { step: 'made', kms: 'acme' },
  { step: 'a new version of the KMS key', kms: 'acme' },
  { step: 'another KMS key', kms: 'acme-second' },
  { step: 'the hybrid is turned on', kms: 'acme-second', kem: 'first' },
  { step: 'a new ML-KEM pair', kms: 'acme-second', kem: 'second' },
]

function wrapped({ step, kms, kem }: Stage, i: number) {
  const secret = one(`${step} secret`)
  const seed = kem === undefined ? undefined : one(`kem ${kem}`, 64)
  const leg = { key: keyOf(kms), secret, ciphertext: one(`${step} ciphertext`, 113) }
  const pair = seed === undefined ? undefined : { publicKey: kemPublicKey(seed), holder: 'file' }
  const record: DataKeyRecord = {
    ...name,
    ...wrapKey(name, key, leg, pair, named(step)),
    dekCommit: commit,
    ...signed,
  }
  const row: Row = { ...newDataKeyRow(record, named(`${step} salt`)), wrap_version: i + 1 }
  return { step, record, secret, seed, row }
}

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown.code
    throw thrown
  }
  throw new Error('opened, and should not')
}

export function makeRotationVectors(): string {
  const wraps = stages.map(wrapped)
  const plain = { role: 'analyst', full_name: 'Ada Lovelace', email: 'ada@example.org', phone: null }
  const head = { tenant, key: rowId, version: 1 }
  const before = sealRow(users, { dekId: oldId, dek: key, blind: null }, head, plain, named('rotation row'))
  const dek = one('rotation new data key')
  const place = placeOf(users, before)
  const recordKey = openRecordKey(key, oldId, place, before.record_key as Bytes)
  const after: Row = {
    ...before,
    wrap_version: 2,
    dek_id: newId,
    record_key: sealRecordKey(dek, newId, place, recordKey, named('rotation record key')),
    salt: one('rotation salt', 16),
  }
  const [made, , , hybrid, last] = wraps as [ReturnType<typeof wrapped>, ...ReturnType<typeof wrapped>[]]
  const at = { tenant, key: rowId }
  const swapped = { ...after, record_key: before.record_key ?? null }
  const unmoved = { ...after, dek_id: oldId }
  const pick = (w: typeof hybrid) => w ?? made
  const errors = [
    [
      'the wrap of a later stage, with the secret of the first',
      () => openDataKey(pick(last).record, made.secret, pick(last).seed),
    ],
    ['a hybrid wrap without the ML-KEM key', () => openDataKey(pick(last).record, pick(last).secret)],
    [
      'a wrap for the new ML-KEM pair, with the old one',
      () => openDataKey(pick(last).record, pick(last).secret, pick(hybrid).seed),
    ],
    ['a re-wrapped row, under the old data key', () => openRow(users, key, after, at)],
    ['a re-wrapped row with its old record key', () => openRow(users, dek, swapped, at)],
    ['a re-wrapped row that names the old data key', () => openRow(users, dek, unmoved, at)],
  ] as const
  const content = {
    generator: 'tests/vectors/rotation_vectors.ts',
    note: 'SPEC §3.2, §3.3, §4.1: one data key through its wraps, one row through a re-wrap, and what opens neither',
    tenant,
    data_key: toHex(key),
    wraps: wraps.map(({ step, secret, seed, row }) => ({
      step,
      kms_secret: toHex(secret),
      kem_seed: seed === undefined ? null : toBase64(seed),
      row: rowToJson(dataKeys, row),
      row_digest: toHex(rowDigest(dataKeys, row)),
    })),
    row: {
      plain,
      before: { dek: toHex(key), row: rowToJson(users, before), row_digest: toHex(rowDigest(users, before)) },
      after: { dek: toHex(dek), row: rowToJson(users, after), row_digest: toHex(rowDigest(users, after)) },
    },
    errors: errors.map(([what, act]) => ({ what, code: codeOf(act) })),
  }
  return `${JSON.stringify(content, null, 2)}\n`
}

if (import.meta.main) await Bun.write(join(import.meta.dir, 'envelope-rotation.json'), makeRotationVectors())
