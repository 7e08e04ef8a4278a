/** Makes tests/vectors/envelope-*.json (but the official ones): `bun tests/vectors/envelope_vectors.ts`. */

import { join } from 'node:path'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, concat, toBase64, toHex, utf8 } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import type { Entropy } from '../../lib/core/envelope/aead.ts'
import { blindIndex, type Normalisation, normalise } from '../../lib/core/envelope/blind_index.ts'
import type { DataKeyRecord } from '../../lib/core/envelope/data_key.ts'
import { dekCommit, issuerOf, issuerPublicKey, signIssue } from '../../lib/core/envelope/issuer.ts'
import { kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { formatKemFile } from '../../lib/core/envelope/key_files.ts'
import { blindPurpose, type KeyName, recordPurpose } from '../../lib/core/envelope/key_name.ts'
import type { Plain } from '../../lib/core/envelope/plain.ts'
import { type RowHead, sealRow } from '../../lib/core/envelope/row.ts'
import { sealFile } from '../../lib/core/envelope/sealed_file.ts'
import { formatSealedRecord, newDataKeyRow } from '../../lib/core/envelope/sealed_record.ts'
import { kmsAad, type Suite, wrapKey } from '../../lib/core/envelope/wrap.ts'
import { reason, ZtError } from '../../lib/core/errors.ts'
import { rowToJson } from '../../lib/core/rows.ts'
import { tableSchema } from '../../lib/core/tables.ts'
import dataKeysJson from '../../sql/tables/data_keys.json' with { type: 'json' }
import usersJson from '../../sql/tables/users.json' with { type: 'json' }

const users = tableSchema.parse(usersJson)
const dataKeys = tableSchema.parse(dataKeysJson)
const tenant = '6f1c2a5e-8d3b-4c47-9a11-2b7e5d90c3f4'
const kmsKey = 'gcp-kms://projects/vectors/locations/europe-west1/keyRings/zt/cryptoKeys/acme'
const keyId = 'd0a7c1b2-3e4f-4a5b-8c6d-7e8f90a1b2c3'
const rowId = '3b9d6f20-1a2b-4c3d-8e4f-5a6b7c8d9e0f'

/** Bytes that are named rather than random: SHA-256(label ‖ counter), so that a run repeats. */
function named(label: string): Entropy {
  let counter = 0
  return length => {
    const blocks: Bytes[] = []
    for (let have = 0; have < length; have += 32) blocks.push(sha256(utf8(`${label}/${counter++}`)))
    return concat(...blocks).slice(0, length)
  }
}

const one = (label: string, length: number): Bytes => named(label)(length)

/** Keeps what it hands out, so that a vector can show the nonces that were used. */
function recorded(entropy: Entropy): { entropy: Entropy; used: Bytes[] } {
  const used: Bytes[] = []
  return {
    used,
    entropy: length => {
      const bytes = entropy(length)
      used.push(bytes.slice())
      return bytes
    },
  }
}

function dataKey(
  suite: Suite,
  purpose: string,
): { case: Record<string, unknown>; record: DataKeyRecord; key: Bytes } {
  const name: KeyName = { tenant, id: keyId, purpose }
  const label = `${suite} ${purpose}`
  const [key, secret, ciphertext] = ['data key', 'kms secret', 'kms ciphertext'].map((what, i) =>
    one(`${label} ${what}`, i === 2 ? 113 : 32),
  ) as [Bytes, Bytes, Bytes]
  const kemSeed = one('kem seed', 64)
  const issuerSeed = one('issuer seed', 32)
  const publicKey = kemPublicKey(kemSeed)
  const { entropy, used } = recorded(named(label))
  const wrap = wrapKey(
    name,
    key,
    { key: kmsKey, secret, ciphertext },
    suite === 'kms' ? undefined : { publicKey, holder: 'file' },
    entropy,
  )
  const commit = dekCommit(name, key)
  const issuer = issuerPublicKey(issuerSeed)
  const record: DataKeyRecord = {
    ...name,
    ...wrap,
    dekCommit: commit,
    issuer: issuerOf(issuer),
    issuerSig: signIssue(issuerSeed, name, commit),
  }
  return {
    record,
    key,
    case: {
      data_key: toHex(key),
      kms_secret: toHex(secret),
      kms_aad: toHex(kmsAad(suite, name)),
      ...(suite === 'kms'
        ? {}
        : {
            kem_seed: toBase64(kemSeed),
            kem_public_key: toBase64(publicKey),
            kem_message: toHex(used[0] ?? new Uint8Array(0)),
          }),
      nonce: toHex(used.at(-1) ?? new Uint8Array(0)),
      issuer_seed: toBase64(issuerSeed),
      issuer_public_key: toBase64(issuer),
      row: rowToJson(dataKeys, newDataKeyRow(record, named(`${label} salt`))),
    },
  }
}

const blindKeys = new Map(['email', 'phone'].map(column => [column, one(`blind key ${column}`, 32)]))

function row(plain: Plain, version: number): Record<string, unknown> {
  const dek = one('dek', 32)
  const head: RowHead = { tenant, key: rowId, version }
  const { entropy, used } = recorded(named(`row ${version}`))
  const sealed = sealRow(users, { dekId: keyId, dek, blind: blindKeys }, head, plain, entropy)
  return {
    table: users.table,
    plain,
    dek: toHex(dek),
    blind_keys: Object.fromEntries([...blindKeys].map(([column, key]) => [column, toHex(key)])),
    record_key: toHex(used[0] ?? new Uint8Array(0)),
    row: rowToJson(users, sealed),
    row_digest: toHex(rowDigest(users, sealed)),
  }
}

function blind(how: Normalisation, column: string, text: string): Record<string, unknown> {
  const key = one(`blind key ${column}`, 32)
  const base = { normalisation: how, column, text }
  try {
    const normal = normalise(how, text, column)
    const index = blindIndex(key, { tenant, table: 'users', column }, normal)
    return { ...base, key: toHex(key), normalised: normal, index: toHex(index) }
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'BAD_INPUT') return { ...base, refused: reason(thrown) }
    throw thrown
  }
}

function sealedRecord(): Record<string, unknown> {
  const { record, key, case: made } = dataKey('kms', recordPurpose)
  const plain = { role: 'analyst', full_name: 'Ada Lovelace', email: 'ada@example.org', phone: null }
  const sealed = sealRow(
    users,
    { dekId: record.id, dek: key, blind: null },
    { tenant, key: rowId, version: 1 },
    plain,
    named('sealed record'),
  )
  const text = formatSealedRecord(dataKeys, {
    table: users,
    key: newDataKeyRow({ ...record, issuer: null, issuerSig: null }, named('sealed record key')),
    row: sealed,
  })
  return { kms_secret: made.kms_secret, plain, text }
}

/** Contents by file name. */
export function makeVectors(): Map<string, string> {
  const kemFile = formatKemFile({ tenant, seed: one('kem seed', 64) })
  const name = 'acme-kem.recovery.json'
  const passphrase = 'correct horse battery staple, caf\u00e9'
  const files: Record<string, unknown> = {
    'envelope-data-key.json': {
      note: 'SPEC §3.1 and §3.2. kms_ciphertext is any bytes: what a KMS would answer for kms_secret with kms_aad',
      tenant,
      cases: [
        dataKey('kms', recordPurpose).case,
        dataKey('kms+ml-kem-768', recordPurpose).case,
        dataKey('kms', blindPurpose('users', 'email')).case,
      ],
    },
    'envelope-row.json': {
      note: 'SPEC §3.3 to §3.6 and §5.3; record_key is the opened one',
      tenant,
      cases: [
        row(
          { role: 'analyst', full_name: 'Ada Lovelace', email: 'Ada@Example.org', phone: '+44 20 7946 0958' },
          1,
        ),
        row(
          {
            role: 'dpo',
            full_name: 'Zo\u00eb \u{1F980} \u5f20',
            email: 'zo\u0065\u0308@example.org',
            phone: null,
          },
          2,
        ),
      ],
    },
    'envelope-blind-index.json': {
      note: 'SPEC §3.6',
      tenant,
      table: 'users',
      cases: [
        blind('email', 'email', 'ada@example.org'),
        blind('email', 'email', ' \tADA@Example.ORG\u00a0'),
        blind('email', 'email', 'zoe\u0308@example.org'),
        blind('email', 'email', 'nobody'),
        blind('phone', 'phone', '+44 (20) 7946-0958'),
        blind('phone', 'phone', '+442079460958'),
        blind('phone', 'phone', '020 7946 0958'),
        blind('phone', 'phone', '+123456'),
        blind('phone', 'phone', '+1234567890123456'),
        blind('name', 'name', '  Ada \n  LOVELACE '),
        blind('name', 'name', ' \u3000'),
      ],
    },
    'envelope-sealed-file.json': {
      note: 'SPEC §6.5: the passphrase is in NFC here and is brought to NFC before use',
      name,
      passphrase,
      plaintext: kemFile,
      text: sealFile(name, utf8(kemFile), passphrase, named('sealed file')),
    },
    'envelope-sealed-record.json': { note: 'SPEC §3.7', ...sealedRecord() },
  }
  return new Map(
    Object.entries(files).map(([file, content]) => [
      file,
      `${JSON.stringify({ generator: 'tests/vectors/envelope_vectors.ts', ...(content as object) }, null, 2)}\n`,
    ]),
  )
}

if (import.meta.main)
  for (const [name, text] of makeVectors()) await Bun.write(join(import.meta.dir, name), text)
