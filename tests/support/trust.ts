/** A small trust folder, made in memory, and ways to change it behind its CA's back or with its CA's help. */
import { ed25519 } from '@noble/curves/ed25519.js'
import { p384 } from '@noble/curves/nist.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js'
import { type Bytes, random, toBase64, toHex, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { manifestMessage, type Role } from '../../lib/core/trust.ts'
import type { TrustContent } from '../../lib/core/trust_build.ts'
import { makeVkey } from '../../lib/core/vkey.ts'
import { type Authority, issueClient, issueCrl, makeAuthority } from '../../lib/edge/pki/certificates.ts'
import { makeKey } from '../../lib/edge/pki/keys.ts'

export const tenantA = '0a000000-0000-4000-8000-00000000000a'
export const tenantB = '0b000000-0000-4000-8000-00000000000b'
export const now = Date.UTC(2026, 0, 2) * 1000
const day = 86_400
export const logName = 'ztmysql.local/0123456789abcdef'

export const makeCa = async (): Promise<Authority> =>
  makeAuthority(await makeKey('P-384'), { now, seconds: 3650 * day })

export async function makeClient(ca: Authority, account: string, role: Role, tenant: string | null) {
  const pair = await makeKey('P-256')
  const info = await issueClient(ca, { account, role, tenant }, pair.spki, { now, seconds: 90 * day })
  return { account, role, tenant, revokedAt: null as string | null, der: info.der, serial: info.serial, pair }
}

export type Client = Awaited<ReturnType<typeof makeClient>>

export async function makeContent(
  cas: readonly Authority[],
  clients: readonly Client[],
): Promise<TrustContent> {
  const revoked = clients.flatMap(({ serial, revokedAt }) =>
    revokedAt === null ? [] : [{ serial, revokedAt }],
  )
  const crl: Bytes[] = []
  for (const [i, ca] of cas.entries())
    crl.push(await issueCrl(ca, 7, i === 0 ? revoked : [], { now, seconds: 30 * day }))
  const tenant = { fixture: false, issuers: [random(1952)], kems: [random(1184)] }
  const kmsKeys = ['gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k']
  return {
    serial: 3,
    time: '2026-01-02T00:00:00.000000Z',
    origin: logName,
    ca: cas.map(ca => ca.certificate.der),
    crl,
    logKeys: [
      {
        ed25519: makeVkey(logName, 'ed25519', ed25519.getPublicKey(random(32))),
        mldsa44: makeVkey(logName, 'mldsa44', ml_dsa44.keygen(random(32)).publicKey),
        from: 1,
        until: null,
      },
    ],
    tenants: [
      { ...tenant, id: tenantA, label: 'tenant-a', kmsKeys },
      { ...tenant, id: tenantB, label: 'tenant-b', kems: [], kmsKeys: [] },
    ],
    certificates: clients,
  }
}

/** Lists the files as they are now and signs that: what a CA would have to do for a wrong folder. */
export function resign(files: Map<string, Bytes>, cas: readonly Authority[]): Map<string, Bytes> {
  const listed = [...files]
    .filter(([path]) => path !== 'manifest.json' && path !== 'manifest.sig')
    .map(([path, bytes]) => ({ path, size: bytes.length, sha256: toHex(sha256(bytes)) }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
  const head = { v: 1, kind: 'ztmysql-trust', serial: 4, time: '2026-01-03T00:00:00.000000Z' }
  return resignManifest(files, `${JSON.stringify({ ...head, files: listed })}\n`, cas)
}

export function resignManifest(
  files: Map<string, Bytes>,
  manifest: string,
  cas: readonly Authority[],
): Map<string, Bytes> {
  const lines = cas.map(ca => toBase64(p384.sign(manifestMessage(utf8(manifest)), ca.scalar, { lowS: true })))
  return new Map(files)
    .set('manifest.json', utf8(manifest))
    .set('manifest.sig', utf8(lines.map(line => `${line}\n`).join('')))
}

export function refusal(act: () => unknown): ZtError {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}
