import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../../lib/core/errors.ts'
import { checkLogMaterial } from '../../lib/edge/host/log_shipping.ts'
import { issueLogHost } from '../../lib/edge/pki/log_host.ts'
import { rewritePki } from '../../lib/edge/pki.ts'
import { openssl } from '../support/openssl.ts'
import { copyPki } from '../support/pki.ts'

let base: string
let dir: string
const make = (name: string, client: string) => rewritePki(dir, {}, draft => issueLogHost(draft, name, client))
const read = (path: string) => readFileSync(join(dir, 'log_host', path), 'utf8')
const material = (side: string) => ({
  ca: read(`${side}/ca.pem`),
  cert: read(`${side}/cert.pem`),
  key: read(`${side}/key.pem`),
})

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'zt-loghost-'))
  dir = await copyPki(join(base, 'pki'))
  await make('log1.example.org', 'db1.example.org')
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

describe('the certificates of a log host', () => {
  test('are what OpenSSL takes for either side, each under its name', () => {
    for (const [side, purpose, name] of [
      ['log', 'sslserver', 'log1.example.org'],
      ['db', 'sslclient', 'db1.example.org'],
    ] as const) {
      const at = (file: string) => join(dir, 'log_host', side, file)
      const checked = openssl(
        'verify',
        '-x509_strict',
        '-purpose',
        purpose,
        '-CAfile',
        at('ca.pem'),
        at('cert.pem'),
      )
      expect([side, checked.ok]).toEqual([side, true])
      const certificate = new X509Certificate(read(`${side}/cert.pem`))
      expect([certificate.checkHost(name), certificate.checkHost('other.example.org')]).toEqual([
        name,
        undefined,
      ])
      expect(statSync(at('key.pem')).mode & 0o777).toBe(0o600)
    }
    expect(() => checkLogMaterial(material('db'))).not.toThrow()
  })

  test('have a CA of their own, of which no key is kept', async () => {
    expect(read('db/ca.pem')).toBe(read('log/ca.pem'))
    expect(read('db/ca.pem')).not.toBe(readFileSync(join(dir, 'ca.pem'), 'utf8'))
    expect(readdirSync(join(dir, 'log_host/log')).sort()).toEqual(['ca.pem', 'cert.pem', 'key.pem'])
    const before = { ca: read('db/ca.pem'), key: read('db/key.pem') }
    await make('log1.example.org', 'db1.example.org')
    expect(read('db/ca.pem')).not.toBe(before.ca)
    expect(read('db/key.pem')).not.toBe(before.key)
  })

  test('are refused for what is no name', async () => {
    const thrown = await make('log1', 'DB 1').catch((error: unknown) => error)
    expect(thrown).toBeInstanceOf(ZtError)
    expect((thrown as ZtError).message).toBe('"DB 1": not a DNS name in lower case')
  })
})

describe('certificates that are given for a log host', () => {
  const refusal = (given: Parameters<typeof checkLogMaterial>[0], now?: number): string => {
    try {
      checkLogMaterial(given, now)
    } catch (thrown) {
      if (thrown instanceof ZtError) return `${thrown.code}: ${thrown.message}`
      throw thrown
    }
    return 'none'
  }

  test('are refused where they do not fit, by what does not', () => {
    const good = material('db')
    expect(refusal(good)).toBe('none')
    expect(refusal(material('log'))).toBe('BAD_INPUT: --log-cert: not a client certificate')
    expect(refusal({ ...good, key: material('log').key })).toBe(
      'BAD_INPUT: --log-key: not the key of --log-cert',
    )
    expect(refusal({ ...good, key: 'no key' })).toBe('BAD_INPUT: --log-key: not the key of --log-cert')
    expect(refusal({ ...good, cert: 'no certificate' })).toStartWith(
      'BAD_INPUT: certificate for the log host: ',
    )
    expect(refusal({ ...good, ca: readFileSync(join(dir, 'ca.pem'), 'utf8') })).toBe(
      'BAD_INPUT: --log-cert: not signed by --log-ca',
    )
    expect(refusal({ ...good, ca: good.cert })).toBe('BAD_INPUT: --log-cert: not signed by --log-ca')
    const later = Date.now() + 367 * 86_400_000
    expect(refusal(good, later)).toStartWith('BAD_INPUT: --log-ca: in force from ')
    expect(refusal(good, later - 2 * 86_400_000 + 3_600_000)).toStartWith(
      'BAD_INPUT: --log-cert: in force from ',
    )
  })
})
