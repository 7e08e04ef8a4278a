/** A deployment with a KMS emulator and the folders of its people: what pq_envelope_cli works on. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ed25519 } from '@noble/curves/ed25519.js'
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js'
import { type Bytes, random, toBase64, utf8 } from '../../lib/core/bytes.ts'
import { issuerPublicKey } from '../../lib/core/envelope/issuer.ts'
import { kemPublicKey } from '../../lib/core/envelope/kem.ts'
import { formatIssuerFile, formatKemFile } from '../../lib/core/envelope/key_files.ts'
import { sealFile } from '../../lib/core/envelope/sealed_file.ts'
import { formatClientConfig } from '../../lib/core/mycnf.ts'
import { parsePem } from '../../lib/core/pem.ts'
import { formatTime } from '../../lib/core/time.ts'
import { buildTrust } from '../../lib/core/trust_build.ts'
import { makeVkey } from '../../lib/core/vkey.ts'
import { writeFileAtomic } from '../../lib/edge/files.ts'
import { issueCrl } from '../../lib/edge/pki/certificates.ts'
import { type Deployment, deployment, type TestTenant } from './deployment.ts'
import { startTestKms, type TestKms } from './kms.ts'

export const passphrase = 'an issuer passphrase for tests'
const location = 'projects/zt-test/locations/local/keyRings/tenants/cryptoKeys'

/** What one tenant's people hold. */
export interface Household {
  tenant: TestTenant
  label: string
  /** Bare name of its KMS key. */
  kmsKey: string
  issuerFile: string
  kemFile: string
  /** Environment for the command: KMS endpoint and token, nothing of the caller's. */
  env: Record<string, string>
}

export interface EnvelopeDeployment extends AsyncDisposable {
  db: Deployment
  kms: TestKms
  dir: string
  passphraseFile: string
  households: [Household, Household]
}

const text = (pem: string | Bytes | undefined): string =>
  typeof pem === 'string' ? pem : Buffer.from(pem ?? new Uint8Array()).toString('utf8')

/** clients/ACCOUNT.cnf and its PEM files. */
function writeClient(db: Deployment, dir: string, account: string): Bytes {
  const { host, port, user, password, ssl } = db.options(account)
  const path = (what: string) => join(dir, 'clients', `${account}-${what}.pem`)
  const certificate = text(ssl?.cert)
  writeFileAtomic(path('cert'), certificate)
  writeFileAtomic(path('key'), text(ssl?.key))
  writeFileAtomic(path('ca'), text(ssl?.ca))
  const config = {
    ...(user ? { user } : {}),
    ...(password ? { password } : {}),
    host: host ?? '',
    port: port ?? 0,
  }
  writeFileAtomic(
    join(dir, 'clients', `${account}.cnf`),
    formatClientConfig({
      ...config,
      sslCa: path('ca'),
      sslCert: path('cert'),
      sslKey: path('key'),
      sslMode: 'VERIFY_IDENTITY',
      tlsVersion: 'TLSv1.3',
    }),
  )
  return parsePem(certificate, 'CERTIFICATE', account)
}

export async function envelopeDeployment(): Promise<EnvelopeDeployment> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-envelope-'))
  for (const name of ['clients', 'trust/certs', 'issuers'])
    mkdirSync(join(dir, name), { recursive: true, mode: 0o700 })
  const kms = await startTestKms()
  const db = await deployment()
  const passphraseFile = join(dir, 'passphrase')
  writeFileAtomic(passphraseFile, `${passphrase}\n`)

  const certificates: { account: string; role: 'app'; tenant: string; revokedAt: null; der: Bytes }[] = []
  const tenants = []
  const households: Household[] = []
  for (const [i, tenant] of db.tenants.entries()) {
    const label = `tenant-${'ab'[i]}`
    const [issuerSeed, kemSeed] = [random(32), random(64)]
    const kmsKey = `${location}/${label}`
    await kms.emulator.createKey(kmsKey)
    const issuerFile = join(dir, 'issuers', `${label}-issuer.json`)
    const inner = formatIssuerFile({ tenant: tenant.id, seed: issuerSeed })
    writeFileAtomic(issuerFile, sealFile(`${label}-issuer.json`, utf8(inner), passphrase))
    const kemFile = join(dir, 'clients', `${label}-kem.json`)
    writeFileAtomic(kemFile, formatKemFile({ tenant: tenant.id, seed: kemSeed }))
    writeFileAtomic(join(dir, 'clients', `${label}-kem.pub`), `${toBase64(kemPublicKey(kemSeed))}\n`)
    const token = await kms.identity(label, { [kmsKey]: ['encrypt', 'decrypt'] })
    const { account } = tenant
    certificates.push({
      account,
      role: 'app',
      tenant: tenant.id,
      revokedAt: null,
      der: writeClient(db, dir, account),
    })
    tenants.push({
      id: tenant.id,
      label,
      fixture: false,
      issuers: [issuerPublicKey(issuerSeed)],
      kems: [kemPublicKey(kemSeed)],
      kmsKeys: [`gcp-kms-emulator://${kmsKey}`],
    })
    households.push({
      tenant,
      label,
      kmsKey,
      issuerFile,
      kemFile,
      env: { KMS_EMULATOR_HOST: kms.emulator.endpoint, KMS_EMULATOR_TOKEN_FILE: token },
    })
  }

  const now = Date.now() * 1000
  const files = buildTrust(
    {
      serial: 1,
      time: formatTime(now),
      origin: db.origin,
      ca: [db.ca.certificate.der],
      crl: [await issueCrl(db.ca, 1, [], { now, seconds: 3600 })],
      logKeys: [
        {
          ed25519: makeVkey(db.origin, 'ed25519', ed25519.getPublicKey(random(32))),
          mldsa44: makeVkey(db.origin, 'mldsa44', ml_dsa44.keygen(random(32)).publicKey),
          from: 1,
          until: null,
        },
      ],
      tenants,
      certificates,
    },
    [db.ca.scalar],
  )
  for (const [path, bytes] of files) writeFileAtomic(join(dir, 'trust', path), bytes)
  return {
    db,
    kms,
    dir,
    passphraseFile,
    households: households as [Household, Household],
    async [Symbol.asyncDispose]() {
      await kms.stop()
      await db[Symbol.asyncDispose]()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
