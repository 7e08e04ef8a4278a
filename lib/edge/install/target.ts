/** The server and the archive that an installation is about, judged before anything is planned. */
import { ZtError } from '../../core/errors.ts'
import { checkHostPart } from '../../core/host_part.ts'
import { type InstallRecord, parseInstallRecord } from '../../core/install_record.ts'
import { checkPath } from '../../core/settings.ts'
import type { TableDefinition } from '../../core/tables.ts'
import { runClean } from '../child.ts'
import { readPrivateFile } from '../files.ts'
import type { Connection } from '../mysql.ts'
import { type Owner, ownerOf, refuseSharedParent } from '../owned_files.ts'
import { checkOwners, type Owners, type Places, recordPath } from '../server_files.ts'
import { checkMaterial, type Material, readServerArchive } from '../server_material.ts'
import { openRoot, readOrigin, refuseOtherDatabases, refuseOtherServers, scalar } from './server.ts'

/** Where things are on a host unless it is said otherwise, or recorded. */
export const installDefaults = {
  socket: '/run/mysqld/mysqld.sock',
  confDir: '/etc/mysql/conf.d',
  tlsDir: '/etc/ztmysql/tls',
  anchorDir: '/var/lib/ztmysql/anchor',
  hostPart: '127.0.0.1',
  anchorUser: 'anchor',
} as const

export interface InstallOptions {
  /** The server's unix socket, where root comes in. */
  socket: string
  /** pki_server.tar.gz. Without it the record of the last installation is what counts. */
  pkiTar?: string
  /** Whether an archive that is gone is fine where a record stands in for it (a second run after it was unlinked). */
  pkiTarMayBeGone?: boolean
  /** SHA-256 of the CA certificate's DER, hex. */
  caSha256?: string
  confDir: string
  tlsDir?: string
  anchorDir?: string
  /** Where accounts come from (default: as recorded, else 127.0.0.1). */
  hostPart?: string
  /** The system's user that the anchor service runs as (default: as recorded, else `anchor`). */
  anchorUser?: string
  /** Whether the host is this program's too, so that settings apply which need its keyring and its packages. */
  host?: boolean
}

export interface Target {
  connection: Connection
  host: boolean
  socket: string
  serverVersion: string
  places: Places
  owners: Owners
  hostPart: string
  anchorUser: string
  origin: string
  material: Material | null
  record: InstallRecord | null
  /** The trail's origin in the database; null before the first installation. */
  installedOrigin: string | null
  databases: string[]
}

export function readRecord(places: { confDir: string }): InstallRecord | null {
  const path = recordPath({ ...places, tlsDir: '', anchorDir: '' })
  try {
    return parseInstallRecord(readPrivateFile(path, 'record of the installation'), path)
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'NOT_FOUND') return null
    throw thrown
  }
}

export async function readMaterial(
  options: InstallOptions,
  record: InstallRecord | null,
  definitions: Iterable<TableDefinition>,
): Promise<Material | null> {
  const { pkiTar, pkiTarMayBeGone = false, caSha256 } = options
  if (pkiTar === undefined) return null
  try {
    const archive = await readServerArchive(pkiTar, definitions)
    return checkMaterial(archive, caSha256 === undefined ? {} : { pin: caSha256 })
  } catch (thrown) {
    const gone = thrown instanceof ZtError && thrown.code === 'NOT_FOUND'
    if (gone && pkiTarMayBeGone && record !== null) return null
    throw thrown
  }
}

/** uid and gid of a system user; null where there is none. */
export async function findUser(name: string): Promise<Owner | null> {
  if (!/^[a-z_][a-z0-9_-]{0,31}$/.test(name))
    throw new ZtError('BAD_INPUT', `system user ${JSON.stringify(name)}: not a user name`)
  const ids = await Promise.all(['-u', '-g'].map(flag => runClean(['id', flag, name], '/')))
  const [uid, gid] = ids.map(({ exitCode, stdout }) => (exitCode === 0 ? Number(stdout.trim()) : Number.NaN))
  return Number.isInteger(uid) && Number.isInteger(gid) ? { uid: Number(uid), gid: Number(gid) } : null
}

/** Stand for users that are still to be made, in plans that are shown. */
const later: Record<string, number> = { mysql: 4294900001, anchor: 4294900002 }

/** A user, or for a plan what stands for it until it is made. */
export async function findUserOrLater(name: string): Promise<Owner> {
  const id = later[name] ?? 4294900000
  return (await findUser(name)) ?? { uid: id, gid: id }
}

/** Plans name users that are still to be made. */
export const withUserNames = (text: string): string =>
  Object.entries(later).reduce((shown, [name, id]) => shown.replaceAll(String(id), name), text)

async function userOwner(name: string): Promise<Owner> {
  const owner = await findUser(name)
  if (owner !== null) return owner
  throw new ZtError('NOT_FOUND', `no system user ${name} for the anchor service`, {
    hint: `make one (useradd --system --no-create-home ${name}), or name another with --anchor-user`,
  })
}

export function refuseOtherLog(origins: {
  archive?: string
  record?: string
  database: string | null
}): string {
  const { archive, record, database } = origins
  const wanted = archive ?? record
  if (wanted === undefined) throw new ZtError('INTERNAL', 'neither an archive nor a record')
  for (const [what, found] of [
    ['record of the installation', record],
    ['database', database],
  ] as const)
    if (found !== undefined && found !== null && found !== wanted)
      throw new ZtError('REFUSED', `the archive is for the log ${wanted}; the ${what} here is of ${found}`, {
        hint: 'take the archive of this deployment; another log needs another server',
      })
  return wanted
}

/** A folder that is filled from the archive: only an archive can move it. */
export function placeOf(
  given: string | undefined,
  recorded: string | undefined,
  name: 'tlsDir' | 'anchorDir',
  material: Material | null,
): string {
  const path = checkPath(
    given ?? recorded ?? installDefaults[name],
    name === 'tlsDir' ? '--tls-dir' : '--anchor-dir',
  )
  if (material === null && recorded !== undefined && path !== recorded)
    throw new ZtError(
      'USAGE',
      `${path}: the files are in ${recorded}, and only an archive can put them elsewhere`,
      {
        hint: 'give the archive with --pki-tar',
      },
    )
  return path
}

/**
 * Opens the server, then reads and judges archive and record: whatever is wrong is said before anything is changed.
 * The caller closes `connection`.
 */
export async function openTarget(
  options: InstallOptions,
  definitions: Iterable<TableDefinition>,
): Promise<Target> {
  const connection = await openRoot(options.socket)
  try {
    const confDir = checkPath(options.confDir, 'folder of option files')
    const record = readRecord({ confDir })
    const material = await readMaterial(options, record, definitions)
    if (material === null && record === null)
      throw new ZtError('NOT_FOUND', 'nothing is installed here, and no archive is given', {
        hint: 'give pki_server.tar.gz with --pki-tar or PKI_TAR',
      })
    const hostPart = checkHostPart(options.hostPart ?? record?.hostPart ?? installDefaults.hostPart)
    const anchorUser = options.anchorUser ?? record?.anchorUser ?? installDefaults.anchorUser
    const places = {
      confDir,
      tlsDir: placeOf(options.tlsDir, record?.tlsDir, 'tlsDir', material),
      anchorDir: placeOf(options.anchorDir, record?.anchorDir, 'anchorDir', material),
    }
    for (const folder of Object.values(places)) refuseSharedParent(folder)
    // of a host it may be the plan that makes the user
    const anchor = await (options.host ? findUserOrLater(anchorUser) : userOwner(anchorUser))
    const serverVersion = await refuseOtherServers(connection)
    const databases = await refuseOtherDatabases(connection)
    const installedOrigin = await readOrigin(connection, databases)
    const origin = refuseOtherLog({
      ...(material === null ? {} : { archive: material.archive.origin }),
      ...(record === null ? {} : { record: record.origin }),
      database: installedOrigin,
    })
    const owners = {
      root: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
      mysqld: ownerOf(await scalar(connection, '@@datadir')),
      anchor,
    }
    checkOwners(owners)
    return {
      connection,
      host: options.host ?? false,
      socket: options.socket,
      serverVersion,
      places,
      owners,
      hostPart,
      anchorUser,
      origin,
      material,
      record,
      installedOrigin,
      databases,
    }
  } catch (thrown) {
    connection.destroy()
    throw thrown
  }
}
