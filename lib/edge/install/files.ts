/** Steps that put files on the host and settings into the running server. */
import { X509Certificate } from 'node:crypto'
import { existsSync, lstatSync } from 'node:fs'
import { reason, ZtError } from '../../core/errors.ts'
import type { Finding, Step } from '../../core/plan.ts'
import type { ServerArchive } from '../../core/server_archive.ts'
import { formatOptionFile, type Setting, type SettingDrift } from '../../core/settings.ts'
import { refuseCrlOlderThanInPlace } from '../host/crl_in_place.ts'
import { servedCertificate } from '../host/tls_served.ts'
import { swapFolder } from '../host/tls_swap.ts'
import type { Connection } from '../mysql.ts'
import { dirChange, fileChange, type OwnedFile, putFile } from '../owned_files.ts'
import {
  anchorFiles,
  configFiles,
  configPath,
  filesDigest,
  hostFileChanges,
  putHostFiles,
  tlsFiles,
} from '../server_files.ts'
import type { Material } from '../server_material.ts'
import {
  driftChange,
  observePersisted,
  planPersisted,
  resetPersisted,
  type SettingPlan,
  setGlobal,
} from '../server_settings.ts'
import { killSessions } from '../sessions.ts'
import type { Target } from './target.ts'

/** The option file and the init file. */
export function configStep(target: Target, settings: Setting[], init: string): Step {
  const files = configFiles(target.places, target.owners, { config: formatOptionFile(settings), init })
  return {
    id: 'options',
    description: 'write the option file that mysqld reads at its start',
    changes: files.flatMap(fileChange),
    apply: async () => files.filter(file => fileChange(file).length > 0).forEach(putFile),
  }
}

/** The signing keys of the anchor, while the archive is at hand. */
export function anchorKeyStep(target: Target, archive: ServerArchive): Step {
  const files = anchorFiles(target.places, target.owners, archive)
  return {
    id: 'anchor-key',
    description: 'hand the signing keys to the anchor service',
    changes: hostFileChanges(files),
    apply: async () => putHostFiles(files),
  }
}

async function loadedUntil(connection: Connection): Promise<string> {
  const [row] = await connection.query(
    "SELECT VARIABLE_VALUE AS value FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Ssl_server_not_after'",
  )
  return String(row?.value ?? '')
}

async function reload(connection: Connection, drift: SettingDrift[], certificate: string): Promise<void> {
  for (const each of drift) await setGlobal(connection, each)
  await connection.run('ALTER INSTANCE RELOAD TLS')
  const wanted = Date.parse(new X509Certificate(certificate).validTo)
  const loaded = await loadedUntil(connection)
  if (Date.parse(loaded) !== wanted)
    throw new ZtError(
      'TLS',
      `the server did not take up the new certificate (its certificate ends ${loaded || 'never'})`,
      {
        hint: 'see its error log',
      },
    )
}

/** Whether the running server has the files: by their digest, or before the first record by the certificate's end. */
async function isLoaded(
  connection: Connection,
  archive: ServerArchive,
  files: OwnedFile[],
  loaded: string | null,
): Promise<boolean> {
  if (loaded !== null) return loaded === filesDigest(files)
  const wanted = new X509Certificate(archive.certificate).validTo
  return Date.parse(await loadedUntil(connection)) === Date.parse(wanted)
}

/** The server's word is not enough: a connection of our own must be shown the certificate of the archive. */
async function proveServed(socket: string, archive: ServerArchive): Promise<void> {
  const served = new X509Certificate(await servedCertificate({ socket }, archive))
  const wanted = new X509Certificate(archive.certificate)
  if (served.fingerprint256 !== wanted.fingerprint256)
    throw new ZtError(
      'TLS',
      `a new connection to ${socket} is shown the certificate ${served.serialNumber.toLowerCase()}, not ${wanted.serialNumber.toLowerCase()}`,
      { hint: 'see the error log of the server' },
    )
}

/** The old files are back: the server must take them up again before it is said what went wrong. */
async function reloadBack(connection: Connection, drift: SettingDrift[], thrown: unknown): Promise<never> {
  const hadNone = drift.some(({ variable, before }) => variable === 'ssl_cert' && !before)
  if (hadNone) throw thrown
  try {
    await connection.run('ALTER INSTANCE RELOAD TLS')
  } catch (again) {
    throw new ZtError('TLS', `${reason(thrown)}; nor are the files before it taken: ${reason(again)}`, {
      hint: 'the certificates that were loaded go on until mysqld stops: see its error log before it is restarted',
      cause: thrown,
    })
  }
  throw thrown
}

/** A session that was opened with a certificate since revoked goes on until somebody ends it. */
async function endRevoked(connection: Connection, { archive, revoked }: Material): Promise<void> {
  for (const { account, subject } of archive.accounts)
    if (revoked.some(serial => subject.endsWith(`/serialNumber=${serial}`)))
      await killSessions(connection, account)
}

/** Certificates, key and CRL, and their reload: all or nothing. @param loaded digest of what the server took up last */
export async function tlsStep(
  target: Target,
  material: Material,
  drift: SettingDrift[],
  loaded: string | null,
): Promise<Step> {
  const { archive } = material
  const { connection, places, owners } = target
  refuseCrlOlderThanInPlace(places.tlsDir, archive.crl)
  const { dirs, files } = tlsFiles(places, owners, archive)
  const changes = [...dirs.flatMap(dirChange), ...files.flatMap(fileChange), ...drift.map(driftChange)]
  if (changes.length === 0 && !(await isLoaded(connection, archive, files, loaded)))
    changes.push({ item: 'TLS of the running server', before: 'perhaps older files', after: 'reloaded' })
  const apply = async () => {
    const [dir] = dirs
    if (dir === undefined) throw new ZtError('INTERNAL', 'no folder for certificates')
    const swap = swapFolder(dir, files)
    try {
      await reload(connection, drift, archive.certificate)
      await proveServed(target.socket, archive)
    } catch (thrown) {
      swap.undo()
      for (const each of drift) await setGlobal(connection, { ...each, after: each.before ?? '' })
      await reloadBack(connection, drift, thrown)
    }
    swap.done()
    await endRevoked(connection, material)
  }
  return { id: 'tls', description: 'put certificates in place and load them', changes, apply }
}

/** Without an archive the files stay as they are, and the server is pointed at them. */
export function tlsSettingsStep(target: Target, drift: SettingDrift[]): Step {
  return {
    id: 'tls',
    description: 'set TLS of the running server and load it',
    changes: drift.map(driftChange),
    apply: async () => {
      for (const each of drift) await setGlobal(target.connection, each)
      await target.connection.run('ALTER INSTANCE RELOAD TLS')
    },
  }
}

export function settingsStep(target: Target, plan: SettingPlan): Step {
  return {
    id: 'settings',
    description: 'set what takes effect at once',
    changes: plan.dynamic.map(driftChange),
    apply: async () => {
      for (const each of plan.dynamic) await setGlobal(target.connection, each)
      await target.connection.reset() // the session takes up the new defaults, so that what it makes is made under them
    },
  }
}

export async function persistedStep(
  target: Target,
  settings: Setting[],
): Promise<{ step: Step; findings: Finding[] }> {
  const { changes, findings } = planPersisted(await observePersisted(target.connection), settings)
  const prefix = 'persisted '
  return {
    findings,
    step: {
      id: 'persisted',
      description: 'take back what SET PERSIST holds against the option file',
      changes,
      apply: async () => {
        for (const { item } of changes) await resetPersisted(target.connection, item.slice(prefix.length))
      },
    },
  }
}

/** A server that started after the option file was written and still has other values does not read that file. */
export async function unreadConfigFinding(target: Target, plan: SettingPlan): Promise<Finding[]> {
  const path = configPath(target.places)
  if (plan.restart.length === 0 || !existsSync(path)) return []
  const [row] = await target.connection.query(
    `SELECT UNIX_TIMESTAMP(SYSDATE(6)) - VARIABLE_VALUE AS started FROM performance_schema.global_status
     WHERE VARIABLE_NAME = 'Uptime'`,
  )
  const [read] = await target.connection.query(
    'SELECT COUNT(*) AS n FROM performance_schema.variables_info WHERE VARIABLE_PATH = ?',
    [path],
  )
  const wasThere = lstatSync(path).mtimeMs / 1000 + 2 < Number(row?.started)
  if (!wasThere || Number(read?.n) > 0) return []
  return [
    {
      item: path,
      detail: `mysqld started after it was written and does not read it: add !includedir ${target.places.confDir} to its option file`,
    },
  ]
}
