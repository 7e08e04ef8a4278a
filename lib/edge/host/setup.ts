/** What a run on a host goes by: flags over environment over the record of the last run over defaults. */
import { existsSync, readFileSync } from 'node:fs'
import { definitions } from '../../../sql/index.ts'
import { ZtError } from '../../core/errors.ts'
import { recogniseDistribution } from '../../core/host/distribution.ts'
import { lastOptionFolder } from '../../core/host/mysqld.ts'
import { type HostRecord, hostRecordPath, parseHostRecord } from '../../core/host/record.ts'
import { hostPartOf } from '../../core/host_part.ts'
import type { InstallRecord } from '../../core/install_record.ts'
import { version } from '../../version.ts'
import { readRegularFile } from '../files.ts'
import { type InstallOptions, installDefaults, readMaterial, readRecord } from '../install/target.ts'
import type { Material } from '../server_material.ts'
import { Journal } from './journal.ts'
import type { Host } from './steps.ts'

/** What can be given; what is not given is as recorded, or the default. */
export interface HostOptions {
  pkiTar?: string
  pkiTarMayBeGone?: boolean
  caSha256?: string
  mysqlSource?: string
  allowRemote?: boolean
  allowedCidr?: string[]
  worm?: string
  logHost?: string | null
  /** Files of PEM text: what the log host's certificate is checked with, and this host's own for it. */
  logCa?: string
  logCert?: string
  logKey?: string
}

/** A host, and what its database is made from. */
export interface Setup extends Host {
  options: HostOptions
  /** What is recorded of the host; null before the first run ended. */
  recorded: HostRecord | null
  /** The archive, judged; null where the record of the installation stands in for it. */
  material: Material | null
  /** Of the database; null before the first run. */
  installed: InstallRecord | null
  database: InstallOptions
  /** Puts the option file of before this run back. */
  undoOptions?: () => void
}

export const hostDefaults = {
  confDir: '/etc/mysql/mysql.conf.d',
  mysqlSource: 'distro',
  worm: '/var/lib/ztmysql/worm',
} as const

export function readHostRecord(): HostRecord | null {
  if (!existsSync(hostRecordPath)) return null
  return parseHostRecord(readRegularFile(hostRecordPath, 'record of the host', 1 << 16), hostRecordPath)
}

/** The folder of option files that mysqld reads last: recorded, or as its option file says, or as it will say. */
export function optionFolder(recorded: HostRecord | null = readHostRecord()): string {
  if (recorded !== null) return recorded.confDir
  const path = '/etc/mysql/my.cnf'
  const found = existsSync(path) ? lastOptionFolder(readFileSync(path, 'utf8')) : null
  return found ?? hostDefaults.confDir
}

function wantedOf(options: HostOptions, recorded: HostRecord | null): HostRecord {
  const allowedCidr = options.allowedCidr ?? recorded?.allowedCidr ?? []
  const allowRemote = options.allowRemote ?? recorded?.allowRemote ?? false
  if (allowRemote && allowedCidr.length === 0)
    throw new ZtError('USAGE', 'remote access needs the networks that it is for', {
      hint: 'give --allowed-cidr 10.1.0.0/16 (several with commas), or ALLOWED_CIDR',
    })
  return {
    v: 1,
    kind: 'ztmysql-host',
    version,
    confDir: optionFolder(recorded),
    allowRemote,
    allowedCidr,
    mysqlSource: options.mysqlSource ?? recorded?.mysqlSource ?? hostDefaults.mysqlSource,
    worm: options.worm ?? recorded?.worm ?? hostDefaults.worm,
    logHost: options.logHost === undefined ? (recorded?.logHost ?? null) : options.logHost,
  }
}

/**
 * Reads and judges everything that was given; changes nothing.
 * @throws REFUSED on a system that is not supported, NOT_FOUND without archive and record, and as readMaterial
 */
export async function openSetup(options: HostOptions): Promise<Setup> {
  const recorded = readHostRecord()
  const wanted = wantedOf(options, recorded)
  const distribution = recogniseDistribution(readFileSync('/etc/os-release', 'utf8'))
  const installed = readRecord(wanted)
  const archive = {
    ...(options.pkiTar === undefined ? {} : { pkiTar: options.pkiTar }),
    ...(options.caSha256 === undefined ? {} : { caSha256: options.caSha256 }),
    pkiTarMayBeGone: options.pkiTarMayBeGone ?? false,
  }
  const database: InstallOptions = {
    ...archive,
    socket: installDefaults.socket,
    confDir: wanted.confDir,
    tlsDir: installDefaults.tlsDir,
    anchorDir: installDefaults.anchorDir,
    anchorUser: installDefaults.anchorUser,
    hostPart: hostPartOf(wanted),
    host: true,
  }
  const material = await readMaterial(database, installed, definitions)
  if (material === null && installed === null)
    throw new ZtError('NOT_FOUND', 'nothing is installed here, and no archive is given', {
      hint: 'give pki_server.tar.gz with --pki-tar or PKI_TAR',
    })
  return { distribution, wanted, recorded, options, material, installed, database, journal: new Journal() }
}
