/** Judgements that take more than a comparison. Each is given the raw result and the evidence, and trusts neither. */
import { z } from 'zod'
import { equal } from '../bytes.ts'
import type { Json, Judgement } from '../controls/control.ts'
import { reason } from '../errors.ts'
import { privilegeDrift } from '../grants.ts'
import { isV6Pattern } from '../host_part.ts'
import { parsePem } from '../pem.ts'
import { settingDrift, settingsFor } from '../settings.ts'
import { grantsFor, type Role } from '../sqlgen/grants.ts'
import type { Trust } from '../trust.ts'
import { isSignedBy, p384Point, readCertificate } from '../x509.ts'
import { hostJudgements } from './host_judgements.ts'
import { type Evidence, fail, firstIssue, type Outcome, pass } from './outcome.ts'
import { judgeScan } from './scan_judgement.ts'

type Act = (result: Json, evidence: Evidence) => Outcome

const few = (faults: string[]): string =>
  faults.slice(0, 3).join('; ') + (faults.length > 3 ? `; and ${faults.length - 3} more` : '')

/** A result of another shape than the probe makes is a failure: whoever wrote it hides something. */
function shaped<S extends z.ZodType>(
  schema: S,
  act: (value: z.output<S>, evidence: Evidence) => Outcome,
): Act {
  return (result, evidence) => {
    const parsed = schema.safeParse(result)
    if (!parsed.success)
      return fail(`the observation has another shape than its probe makes: ${firstIssue(parsed.error)}`)
    try {
      return act(parsed.data, evidence)
    } catch (thrown) {
      return fail(reason(thrown))
    }
  }
}

/** A certificate takes a millisecond to read, and their number is a stranger's. */
const longestChain = 10

/** As they stand in a transcript, the server's own first. A bundle's writer chooses the text: no expression over all of it. */
const certificatesIn = (transcript: string): string[] =>
  transcript
    .split('-----BEGIN CERTIFICATE-----\n')
    .slice(1)
    .map(block => {
      const [body = ''] = block.split('-----END CERTIFICATE-----\n', 1)
      return `-----BEGIN CERTIFICATE-----\n${body}-----END CERTIFICATE-----\n`
    })

const serverCertificate = shaped(
  z.looseObject({ certificate: z.string(), host: z.string(), time: z.string(), transcript: z.string() }),
  ({ certificate, host, time, transcript }, { trust }) => {
    const chain = certificatesIn(transcript)
    if (chain.length > longestChain) return fail(`its chain holds ${chain.length} certificates`)
    if (chain[0] !== certificate) return fail('the transcript shows another certificate than the connection')
    const leaf = readCertificate(
      parsePem(certificate, 'CERTIFICATE', 'server certificate'),
      'server certificate',
    )
    if (!trust.ca.some(ca => ca.subject === leaf.issuer && isSignedBy(leaf, p384Point(ca.spki, 'ca.pem'))))
      return fail(`${leaf.subject} is not signed by the CA of the trust folder`)
    if (!leaf.names.includes(host)) return fail(`it names ${leaf.names.join(', ')}, not ${host}`)
    if (time < leaf.notBefore || time > leaf.notAfter)
      return fail(`it holds from ${leaf.notBefore} to ${leaf.notAfter}`)
    const others = chain.slice(1).map(pem => {
      const { subject, spki } = readCertificate(parsePem(pem, 'CERTIFICATE', 'chain'), 'chain')
      return trust.ca.some(ca => ca.subject === subject && equal(ca.spki, spki)) ? [] : [subject]
    })
    const [stranger] = others.flat()
    if (stranger !== undefined) return fail(`its chain holds ${stranger}, which is no CA of the trust folder`)
    return pass(`${leaf.subject}, until ${leaf.notAfter}; ${chain.length} certificates in the handshake`)
  },
)

const accountRow = z.strictObject({
  user: z.string(),
  host: z.string(),
  ssl_type: z.string(),
  x509_subject: z.string(),
  x509_issuer: z.string(),
  plugin: z.string(),
  locked: z.boolean(),
  /** Whether it has an authentication string at all; the string itself is nobody's business. */
  has_secret: z.boolean(),
})

function accountFault(account: z.infer<typeof accountRow>, trust: Trust): string | undefined {
  const name = `'${account.user}'@'${account.host}'`
  if (account.locked || account.plugin === 'mysql_no_login') return undefined
  if (account.user === '') return `${name} is anonymous`
  if (account.host === 'localhost')
    return account.plugin === 'auth_socket' || account.has_secret ? undefined : `${name} has no password`
  if ((account.host.includes('%') && !isV6Pattern(account.host)) || account.host === '')
    return `${name} may come from anywhere`
  if (account.ssl_type !== 'SPECIFIED' || account.x509_subject === '' || account.x509_issuer === '')
    return `${name} is not bound to a subject and an issuer`
  if (!account.has_secret) return `${name} has no password`
  const known = trust.certificates.some(
    c =>
      c.account === account.user &&
      c.subject === account.x509_subject &&
      c.issuer === account.x509_issuer &&
      c.revokedAt === null,
  )
  return known
    ? undefined
    : `${name} is bound to ${account.x509_subject}, which is no certificate in force in the trust folder`
}

const accountsBound = shaped(z.array(accountRow), (accounts, { trust }) => {
  const faults = accounts.flatMap(account => accountFault(account, trust) ?? [])
  if (faults.length > 0) return fail(few(faults))
  const bound = accounts.filter(account => account.ssl_type === 'SPECIFIED').length
  return bound === 0
    ? fail('no account is bound to a certificate')
    : pass(`${bound} accounts bound, ${accounts.length} in all`)
})

/** Accounts that MySQL itself makes, locked; and root by the socket, which may do all, also as Debian's scripts call it. */
const ownAccounts = ['root', 'debian-sys-maint', 'mysql.session', 'mysql.sys', 'mysql.infoschema']

function roleOf(account: string, trust: Trust): Role | undefined {
  const [, user, host] = /^'([^']*)'@'([^']*)'$/.exec(account) ?? []
  if (user === 'anchor' && host === 'localhost') return 'anchor'
  const role = trust.certificates.find(c => c.account === user && c.revokedAt === null)?.role
  return role === undefined || role === 'administrator' ? undefined : role
}

const rights = shaped(
  z.array(z.strictObject({ account: z.string(), rights: z.array(z.string()) })),
  (accounts, { trust, definitions }) => {
    const faults = accounts.flatMap(({ account, rights }) => {
      if (ownAccounts.some(name => account === `'${name}'@'localhost'`)) return []
      const role = roleOf(account, trust)
      if (role === undefined) return [`${account} has no role, and ${rights.length} rights`]
      const { missing, extra } = privilegeDrift(grantsFor(role, definitions), rights)
      return [
        ...extra.map(right => `${account} may ${right}`),
        ...missing.map(right => `${account} may not ${right}`),
      ]
    })
    const known = accounts.filter(({ account }) => roleOf(account, trust) !== undefined).length
    if (faults.length > 0) return fail(few(faults))
    return known === 0 ? fail('no account has a role') : pass(`${known} accounts`)
  },
)

const settingsSchema = z.strictObject({
  input: z.strictObject({
    tlsDir: z.string(),
    initFile: z.string(),
    bindAddress: z.string(),
    host: z.boolean().exactOptional(),
  }),
  variables: z.record(z.string(), z.string().nullable()),
})

export type ServerSettings = z.infer<typeof settingsSchema>
export type AccountRow = z.infer<typeof accountRow>

/** The observation `settings`, or undefined where it has another shape. */
export const readSettings = (result: Json | undefined): ServerSettings | undefined =>
  settingsSchema.safeParse(result).data

/** The observation `accounts`, or undefined where it has another shape. */
export const readAccounts = (result: Json | undefined): AccountRow[] | undefined =>
  z.array(accountRow).safeParse(result).data

const settings = shaped(settingsSchema, ({ input, variables }) => {
  const drift = settingDrift(settingsFor(input), new Map(Object.entries(variables)))
  if (drift.length === 0) return pass(`${settingsFor(input).length} settings as the release has them`)
  return fail(few(drift.map(d => `${d.variable} is ${d.before ?? 'unknown'}, expected ${d.after}`)))
})

const ciphertext: Act = (_result, { rows }) => {
  if (rows.ciphertextFaults.length > 0) return fail(few(rows.ciphertextFaults))
  if (rows.cells === 0) return { status: 'not-applicable', reason: 'no PII cell is stored yet' }
  return pass(`${rows.cells} cells`)
}

const wrappedKeys: Act = (_result, { rows }) => {
  if (rows.keyFaults.length > 0) return fail(few(rows.keyFaults))
  if (rows.keys === 0) return { status: 'not-applicable', reason: 'no data key is stored yet' }
  return pass(`${rows.keys} data keys, each signed by its tenant's issuer`)
}

const hybrid: Act = (_result, { rows }) => {
  if (rows.hybridFaults.length > 0) return fail(few(rows.hybridFaults))
  if (rows.hybridKeys === 0)
    return { status: 'not-applicable', reason: 'no data key is wrapped by the hybrid suite' }
  return pass(`${rows.hybridKeys} of ${rows.keys} data keys`)
}

const brackets: Act = (_result, { bracketFault, bracketNote }) =>
  bracketFault === undefined ? pass(bracketNote) : fail(bracketFault)

export const judgements: Record<Judgement, Act> = {
  'server-certificate': serverCertificate,
  'accounts-bound': accountsBound,
  rights,
  settings,
  ciphertext,
  'wrapped-keys': wrappedKeys,
  hybrid,
  brackets,
  scan: judgeScan,
  ...hostJudgements,
}
