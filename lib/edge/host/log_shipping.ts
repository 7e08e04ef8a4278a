/** The database host's rsyslog as the carrier of anchors to the log host. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { reason, ZtError } from '../../core/errors.ts'
import {
  formatShipping,
  logFiles,
  logFolder,
  parseLogHost,
  shippingConfig,
} from '../../core/host/log_shipping.ts'
import { shipFolder } from '../../core/host/units.ts'
import { readPrivateFile, readRegularFile, removeFile } from '../files.ts'
import { findUser, installDefaults } from '../install/target.ts'
import type { OwnedDir, OwnedFile } from '../owned_files.ts'
import type { Setup } from './setup.ts'
import { fileStep, type Host, type Layer, rootFile } from './steps.ts'
import { must, unitState } from './system.ts'

export interface LogMaterial {
  ca: string
  cert: string
  key: string
}

const pemMax = 1 << 16
const clientAuth = '1.3.6.1.5.5.7.3.2'

const bad = (what: string, cause?: unknown): ZtError =>
  new ZtError('BAD_INPUT', what, {
    hint: 'give --log-ca, --log-cert and --log-key as whoever runs the log host issued them',
    ...(cause === undefined ? {} : { cause }),
  })

/** @throws BAD_INPUT naming what does not fit */
export function checkLogMaterial({ ca, cert, key }: LogMaterial, now = Date.now()): void {
  let issuer: X509Certificate
  let own: X509Certificate
  let fits: boolean
  try {
    issuer = new X509Certificate(ca)
    own = new X509Certificate(cert)
  } catch (thrown) {
    throw bad(`certificate for the log host: ${reason(thrown)}`, thrown)
  }
  try {
    fits = own.checkPrivateKey(createPrivateKey(key))
  } catch {
    fits = false // OpenSSL's message may quote the key
  }
  if (!fits) throw bad('--log-key: not the key of --log-cert')
  if (!issuer.ca || !own.verify(issuer.publicKey)) throw bad('--log-cert: not signed by --log-ca')
  for (const [what, each] of [
    ['--log-ca', issuer],
    ['--log-cert', own],
  ] as const)
    if (now < Date.parse(each.validFrom) || now >= Date.parse(each.validTo))
      throw bad(`${what}: in force from ${each.validFrom} until ${each.validTo}`)
  const usage = own.keyUsage
  if (usage !== undefined && !usage.includes(clientAuth)) throw bad('--log-cert: not a client certificate')
}

function readGiven({ logCa, logCert, logKey }: Setup['options']): LogMaterial | null {
  if (logCa === undefined && logCert === undefined && logKey === undefined) return null
  if (logCa === undefined || logCert === undefined || logKey === undefined)
    throw new ZtError('USAGE', '--log-ca, --log-cert and --log-key belong together', {
      hint: 'give all three, or none where they are in place',
    })
  return {
    ca: readRegularFile(logCa, 'CA of the log host', pemMax).toString('utf8'),
    cert: readRegularFile(logCert, 'certificate for the log host', pemMax).toString('utf8'),
    key: readPrivateFile(logKey, 'key for the log host', pemMax).toString('utf8'),
  }
}

/** Before anything is changed. @throws BAD_INPUT, USAGE, NOT_FOUND */
export function refuseUnfitLogHost({ options, wanted }: Setup): void {
  const given = readGiven(options)
  if (wanted.logHost === null) {
    if (given !== null) throw new ZtError('USAGE', 'certificates for a log host, and no --log-host')
    return
  }
  parseLogHost(wanted.logHost)
  if (given !== null) checkLogMaterial(given)
  else if (!Object.values(logFiles).every(path => existsSync(path)))
    throw new ZtError('NOT_FOUND', `log host ${wanted.logHost}: no certificates in ${logFolder}`, {
      hint: 'give --log-ca, --log-cert and --log-key',
    })
}

const keyMode = (path: string): number => (path === logFiles.key ? 0o600 : 0o644)

/** As given, or else as they are there: root's, and the key root's alone. Preflight has refused where they are not. */
function materialFiles(given: LogMaterial | null): OwnedFile[] {
  return (['ca', 'cert', 'key'] as const).flatMap(name => {
    const path = logFiles[name]
    if (given === null && !existsSync(path)) return []
    const bytes = given?.[name] ?? readRegularFile(path, 'file', pemMax)
    return [{ path, bytes, mode: keyMode(path), uid: 0, gid: 0 }]
  })
}

async function restart(): Promise<void> {
  await must('rsyslogd', '-N1')
  await must('systemctl', 'restart', 'rsyslog.service')
  const { active } = await unitState('rsyslog.service')
  if (active !== 'active') throw new ZtError('IO', `rsyslog.service is ${active} with ${shippingConfig}`)
}

export async function logShippingLayer(setup: Setup): Promise<Layer> {
  const { wanted, options } = setup
  if (wanted.logHost === null) return { steps: removal(setup), findings: [] }
  const owner = await findUser(installDefaults.anchorUser)
  const given = readGiven(options)
  const dirs: OwnedDir[] = [
    { path: logFolder, mode: 0o700, uid: 0, gid: 0 },
    ...(owner === null ? [] : [{ path: shipFolder, mode: 0o750, ...owner }]),
  ]
  const state = existsSync(shippingConfig) ? (await unitState('rsyslog.service')).active : 'active'
  const step = fileStep(setup, {
    id: 'log-shipping',
    description: `send anchors to ${wanted.logHost}`,
    dirs,
    files: [...materialFiles(given), rootFile(shippingConfig, formatShipping(parseLogHost(wanted.logHost)))],
    changes: [
      ...(state === 'active' ? [] : [{ item: 'unit rsyslog.service', before: state, after: 'active' }]),
    ],
    take: restart,
  })
  return { steps: [step], findings: [] }
}

function removal({ journal }: Pick<Host, 'journal'>) {
  if (!existsSync(shippingConfig)) return []
  return [
    {
      id: 'log-shipping',
      description: 'send anchors to no log host any more',
      changes: [{ item: shippingConfig, before: 'there', after: null }],
      apply: async () => {
        journal.keepFile(shippingConfig)
        removeFile(shippingConfig)
        await restart()
      },
    },
  ]
}
