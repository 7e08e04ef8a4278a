import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readIssuerSeed, readKemPublicKey, readKemSeed } from '../../lib/client/files.ts'
import { formatPlain, parseInput } from '../../lib/client/input.ts'
import { makeKemPair } from '../../lib/client/keygen.ts'
import { newUuid, random, toBase64, utf8 } from '../../lib/core/bytes.ts'
import { kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { formatIssuerFile, parseKemFile } from '../../lib/core/envelope/key_files.ts'
import { openSealedFile, sealFile } from '../../lib/core/envelope/sealed_file.ts'
import { codeOf } from '../support/envelope.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-keygen-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const tenant = { id: newUuid(), label: 'acme' }

describe('keygen', () => {
  test('writes private key, public key and a recovery copy that opens to the same key', () => {
    const made = makeKemPair(tenant.id, join(dir, 'acme-kem.json'), 'pass')
    const seed = readKemSeed(made.private, tenant)
    expect(statSync(made.private).mode & 0o777).toBe(0o600)
    expect(statSync(made.recovery).mode & 0o777).toBe(0o600)
    expect(readFileSync(made.public, 'utf8')).toBe(`${toBase64(kemPublicKey(seed))}\n`)
    expect(readKemPublicKey(made.public, tenant.id)).toEqual(kemPublicKey(seed))
    expect(readKemPublicKey(made.private, tenant.id)).toEqual(kemPublicKey(seed))
    const inner = openSealedFile('acme-kem.recovery.json', readFileSync(made.recovery), 'pass')
    expect(parseKemFile(inner, 'copy').seed).toEqual(seed)
    expect(codeOf(() => readKemSeed(made.private, { id: newUuid(), label: 'x' }))).toBe('REFUSED')
    expect(codeOf(() => readKemPublicKey(made.private, newUuid()))).toBe('REFUSED')
  }, 30_000)

  test('replaces nothing, and leaves nothing where one of the three cannot be written', () => {
    for (const name of ['k.json', 'k.pub', 'k.recovery.json']) {
      writeFileSync(join(dir, name), 'x')
      expect(codeOf(() => makeKemPair(tenant.id, join(dir, 'k.json'), 'pass'))).toBe('CONFLICT')
      expect(readdirSync(dir)).toEqual([name])
      rmSync(join(dir, name))
    }
    expect(codeOf(() => makeKemPair(tenant.id, join(dir, 'missing', 'k.json'), 'pass'))).toBe('NOT_FOUND')
    expect(codeOf(() => makeKemPair(tenant.id, join(dir, 'k'), 'pass'))).toBe('BAD_INPUT')
    expect(codeOf(() => makeKemPair(tenant.id, join(dir, 'k.json'), ''))).toBe('BAD_PASSPHRASE')
    expect(readdirSync(dir)).toEqual([])
  }, 30_000)
})

test('an issuer file opens only as its tenant’s', () => {
  const trusted = { ...tenant, fixture: false, issuers: [], kems: [], kmsKeys: [] }
  const path = join(dir, 'acme-issuer.json')
  const seed = random(32)
  const inner = formatIssuerFile({ tenant: tenant.id, seed })
  writeFileSync(path, sealFile('acme-issuer.json', utf8(inner), 'pass'), { mode: 0o600 })
  expect(readIssuerSeed(path, 'pass', trusted)).toEqual(seed)
  expect(codeOf(() => readIssuerSeed(path, 'pass', { ...trusted, id: newUuid() }))).toBe('REFUSED')
  expect(existsSync(path)).toBe(true)
}, 30_000)

describe('input and output', () => {
  test('a JSON error never repeats the input', () => {
    try {
      parseInput(utf8('{"full_name": Ada Lovelace}'), 'person.json')
      expect.unreachable()
    } catch (thrown) {
      expect(String(thrown)).toContain('person.json: not valid JSON')
      expect(String(thrown)).not.toContain('Ada')
    }
    expect(codeOf(() => parseInput(Uint8Array.of(0x22, 0xff, 0x22), '-'))).toBe('BAD_INPUT')
  })

  test('absent members are left out, and large numbers lose nothing', () => {
    expect(formatPlain({ a: null, b: 'x', c: 5n, d: 2n ** 60n, e: Uint8Array.of(1) })).toBe(
      '{"b":"x","c":5,"d":"1152921504606846976","e":"AQ=="}',
    )
  })
})
