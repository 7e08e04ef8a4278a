/** What follows from the state and is written anew with every change: CRL, archives, option files, trust folder. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Bytes, fromBase64, fromUtf8, utf8 } from '../../core/bytes.ts'
import { formatClientConfig } from '../../core/mycnf.ts'
import { formatPem, parsePem } from '../../core/pem.ts'
import { formatPkiServer, type PkiServerAccount } from '../../core/pki_server.ts'
import { folderOf, formatPkiState, type PkiAccount } from '../../core/pki_state.ts'
import { formatTime } from '../../core/time.ts'
import type { Trust } from '../../core/trust.ts'
import { buildTrust } from '../../core/trust_build.ts'
import { readHsmRoots, readWitnesses } from '../../core/trust_content.ts'
import { certificatePath } from '../../core/trust_files.ts'
import { parseVkey } from '../../core/vkey.ts'
import { packArchive } from '../archive.ts'
import { authorityPath } from './authorities.ts'
import { daySeconds, issueCrl } from './certificates.ts'
import { certificateAt, type Draft, get, put, timeOf } from './draft.ts'

/** How long a CRL holds. Past that the server refuses every client. */
const crlDays = 30
/** A change made when less than this is left renews the CRL with it. */
const crlRenewDays = 15

export const serverArchivePath = 'pki_server.tar.gz'
export const probesArchivePath = 'pki_probes.tar.gz'

const active = (draft: Draft): PkiAccount[] => draft.state.accounts.filter(account => !account.retired)
/** ca.pem: the CA that signs and, at a rollover, the one before it. */
const bundle = (draft: Draft): string =>
  draft.state.authorities.map(({ serial }) => fromUtf8(get(draft, authorityPath(serial)), 'ca.pem')).join('')

async function writeCrl(draft: Draft): Promise<void> {
  const { state } = draft
  const soon = formatTime(draft.now + crlRenewDays * daySeconds * 1e6)
  if (!draft.crlIsStale && soon < state.crlNextUpdate) return
  state.crlNumber += 1
  const validity = { now: draft.now, seconds: crlDays * daySeconds }
  const issued = [...state.certificates, ...state.servers]
  let pem = ''
  for (const ca of draft.authorities) {
    const { serial: authority } = ca.certificate
    const revoked = issued.flatMap(c =>
      c.authority === authority && c.revokedAt !== null ? [{ serial: c.serial, revokedAt: c.revokedAt }] : [],
    )
    pem += formatPem('X509 CRL', await issueCrl(ca, state.crlNumber, revoked, validity))
  }
  state.crlNextUpdate = formatTime(Math.floor(draft.now / 1e6 + validity.seconds) * 1e6)
  put(draft, 'crl.pem', pem)
  draft.changes.push(`CRL ${state.crlNumber}, next update ${state.crlNextUpdate.slice(0, 10)}`)
}

function serverAccount(draft: Draft, account: PkiAccount): PkiServerAccount[] {
  const { account: name, role, tenant, password } = account
  if (role === 'administrator' || password === null) return []
  const { subject, issuer } = certificateAt(draft, `trust/${certificatePath(name, account.serial)}`)
  return [{ account: name, role, tenant, subject, issuer, password }]
}

async function writeServer(draft: Draft): Promise<void> {
  const { origin, serverNames, orders } = draft.state
  const accounts = active(draft).flatMap(account => serverAccount(draft, account))
  put(draft, 'server/server.json', formatPkiServer({ origin, serverName: serverNames[0] ?? '', accounts }))
  put(draft, 'server/ca.pem', bundle(draft))
  put(draft, 'server/crl.pem', get(draft, 'crl.pem'))
  const numbers = Array.from({ length: orders }, (_, i) => String(i + 1).padStart(6, '0'))
  const names = [
    ...['server.json', 'server-cert.pem', 'server-key.pem', 'ca.pem', 'crl.pem', 'anchor_key.json'],
    ...numbers.map(number => `orders/${number}.json`),
  ]
  const files = new Map(names.map(name => [name, get(draft, `server/${name}`)]))
  put(draft, serverArchivePath, await packArchive(files, 0o600))
}

/** The option file of an account whose files lie in `folder`. */
function optionFile(draft: Draft, { account, password }: PkiAccount, folder: string, host: string): string {
  return formatClientConfig({
    user: account,
    ...(password === null ? {} : { password }),
    host,
    port: draft.state.port,
    sslCa: join(folder, `${account}-ca.pem`),
    sslCert: join(folder, `${account}-cert.pem`),
    sslKey: join(folder, `${account}-key.pem`),
    sslMode: 'VERIFY_IDENTITY',
    tlsVersion: 'TLSv1.3',
  })
}

async function writeClients(draft: Draft): Promise<void> {
  const { host, probesDir } = draft.state
  const probes = new Map<string, Bytes>()
  for (const account of active(draft).filter(a => a.role !== 'administrator')) {
    const { account: name } = account
    const folder = folderOf(account)
    const here = join(draft.dir, folder)
    put(draft, `${folder}/${name}-ca.pem`, bundle(draft))
    // probes run on the host that they test
    put(
      draft,
      `${folder}/${name}.cnf`,
      optionFile(draft, account, here, folder === 'probes' ? '127.0.0.1' : host),
    )
    if (folder !== 'probes') continue
    for (const file of [`${name}-ca.pem`, `${name}-cert.pem`, `${name}-key.pem`])
      probes.set(file, get(draft, `probes/${file}`))
    probes.set(`${name}.cnf`, utf8(optionFile(draft, account, probesDir, '127.0.0.1')))
  }
  if (probes.size > 0) put(draft, probesArchivePath, await packArchive(probes, 0o600))
}

function writeTrust(draft: Draft): void {
  const { state } = draft
  state.trustSerial += 1
  const certificates = state.certificates.map(({ account, role, tenant, revokedAt, serial }) => ({
    account,
    role,
    tenant,
    revokedAt,
    der: certificateAt(draft, `trust/${certificatePath(account, serial)}`).der,
  }))
  const tenants = state.tenants.map(({ id, label, fixture, issuers, kems, kmsKeys }) => ({
    id,
    label,
    fixture,
    issuers: issuers.map(key => fromBase64(key, 'issuer')),
    kems: kems.map(key => fromBase64(key, 'ML-KEM key')),
    kmsKeys,
  }))
  const crl = fromUtf8(get(draft, 'crl.pem'), 'crl.pem').split(/(?<=-----END X509 CRL-----\n)/)
  const files = buildTrust(
    {
      serial: state.trustSerial,
      time: timeOf(draft),
      origin: state.origin,
      ca: draft.authorities.map(ca => ca.certificate.der),
      crl: crl.map(pem => parsePem(pem, 'X509 CRL', 'crl.pem')),
      logKeys: state.log.map(key => ({
        ...key,
        ed25519: parseVkey(key.ed25519, 'ed25519'),
        mldsa44: parseVkey(key.mldsa44, 'mldsa44'),
      })),
      tenants,
      certificates,
      ...witnessesOf(draft),
      ...hsmRootsOf(draft),
    },
    draft.authorities.map(ca => ca.scalar),
  )
  for (const [path, bytes] of files) put(draft, `trust/${path}`, bytes)
}

/** Whom the person named, in a witnesses.json that he laid into the PKI folder, to cosign checkpoints. */
function witnessesOf(draft: Draft): Pick<Trust, 'witnesses'> {
  if (!existsSync(join(draft.dir, 'witnesses.json'))) return {}
  return { witnesses: readWitnesses(get(draft, 'witnesses.json'), draft.state.origin) }
}

/** Roots that the person fetched from the HSM's manufacturer and from Google, and laid into the PKI folder. */
function hsmRootsOf(draft: Draft): Pick<Trust, 'hsmRoots'> {
  if (!existsSync(join(draft.dir, 'hsm-roots.pem'))) return {}
  return { hsmRoots: readHsmRoots(get(draft, 'hsm-roots.pem')) }
}

/** Completes a draft that asked for the CA; pki.json comes last. */
export async function finish(draft: Draft): Promise<void> {
  await writeCrl(draft)
  put(draft, 'ca.pem', bundle(draft))
  writeTrust(draft)
  await finishUnsigned(draft)
}

/** The part that wants no CA: archives, option files, state. */
export async function finishUnsigned(draft: Draft): Promise<void> {
  await writeServer(draft)
  await writeClients(draft)
  put(draft, 'pki.json', formatPkiState(draft.state))
}
