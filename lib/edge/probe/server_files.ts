/** Modes and owners of the server's files, as `stat` has them. */
import { lstatSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { mysqldPaths } from '../../core/host/mysqld.ts'
import type { FileGroup, FilesSeen, OptionFile } from '../../core/proof/server_facts.ts'
import type { Connection } from '../mysql.ts'

/** id → name, of /etc/passwd or /etc/group. */
export function namesIn(path: string): Map<number, string> {
  return new Map(
    readFileSync(path, 'utf8')
      .split('\n')
      .flatMap((line): [number, string][] => {
        const [name = '', , id = ''] = line.split(':')
        return /^\d+$/.test(id) ? [[Number(id), name]] : []
      }),
  )
}

export interface ServerPlaces {
  user: string
  datadir: string
  errorLog: string
  slowLog: string
  generalLog: string
  binaryLog: string
  relayLog: string
  keys: string[]
  plugins: string
  optionFile: string
  optionFolders: string[]
}

const text = (value: unknown): string => (typeof value === 'string' ? value : String(value ?? ''))

/** @param confDir of the host's record */
export async function placesOf(root: Connection, user: string, confDir: string): Promise<ServerPlaces> {
  const [row = {}] = await root.query(
    `SELECT @@datadir AS datadir, @@log_error AS errorLog, @@slow_query_log_file AS slowLog,
            @@general_log_file AS generalLog, @@log_bin_basename AS binaryLog, @@relay_log_basename AS relayLog,
            @@ssl_key AS sslKey, @@plugin_dir AS plugins`,
  )
  const datadir = text(row.datadir)
  const inData = (path: unknown): string => resolve(datadir, text(path))
  return {
    user,
    datadir,
    errorLog: inData(row.errorLog),
    slowLog: inData(row.slowLog),
    generalLog: inData(row.generalLog),
    binaryLog: inData(row.binaryLog),
    relayLog: inData(row.relayLog),
    keys: [inData(row.sslKey), mysqldPaths.keyFile, mysqldPaths.keyringDir],
    plugins: text(row.plugins),
    optionFile: mysqldPaths.optionFile,
    optionFolders: [...new Set(['/etc/mysql/conf.d', confDir])],
  }
}

type Kind = FileGroup['kind']

const there = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined

const inFolder = (folder: string, wanted: (name: string) => boolean): string[] =>
  there(folder)
    ? readdirSync(folder)
        .filter(wanted)
        .sort()
        .map(name => join(folder, name))
    : []

/** `binlog.000042` and `binlog.index`, of the basename `binlog`. */
const numbered = (basename: string): string[] =>
  inFolder(dirname(basename), name => {
    const rest = join(dirname(basename), name).slice(basename.length)
    return join(dirname(basename), name).startsWith(basename) && /^\.(?:\d{6,}|index)$/.test(rest)
  })

function pathsOf(places: ServerPlaces): [Kind, string][] {
  const { datadir, optionFolders } = places
  const of = (kind: Kind, paths: string[]): [Kind, string][] =>
    paths.filter(there).map((path): [Kind, string] => [kind, path])
  return [
    ...of('data-folder', [datadir]),
    ...of('system-tablespace', [join(datadir, 'ibdata1')]),
    ...of('binary-log', numbered(places.binaryLog)),
    ...of('error-log', [places.errorLog]),
    ...of('slow-log', [places.slowLog]),
    ...of('general-log', [places.generalLog]),
    ...of('relay-log', numbered(places.relayLog)),
    ...of('key', places.keys),
    ...of('plug-in', [places.plugins, ...inFolder(places.plugins, () => true)]),
    ...of('option-file', [places.optionFile]),
    ...of('option-folder', [
      ...optionFolders,
      ...optionFolders.flatMap(folder => inFolder(folder, name => name.endsWith('.cnf'))),
    ]),
  ]
}

/** Of what a link leads to: the link's own mode says nothing. */
function placeOf(path: string, users: Map<number, string>, groups: Map<number, string>) {
  const { mode, uid, gid } = statSync(path)
  return {
    mode: (mode & 0o7777).toString(8).padStart(4, '0'),
    owner: users.get(uid) ?? String(uid),
    group: groups.get(gid) ?? String(gid),
  }
}

const setsPassword = /^\s*(?:loose[-_])?(?:(?:master|replica)[-_])?password\d?\s*=\s*\S/i
const loadsStrangers = /^\s*(?:loose[-_])?allow[-_]suspicious[-_]udfs\s*(?:$|=\s*(?!0|off|false)\S)/i

function optionFile(path: string, place: Omit<OptionFile, 'path' | 'passwords' | 'suspicious'>): OptionFile {
  const lines = readFileSync(path, 'utf8').split('\n')
  return {
    path,
    ...place,
    passwords: lines.filter(line => setsPassword.test(line)).length,
    suspicious: lines.filter(line => loadsStrangers.test(line)).map(line => line.trim()),
  }
}

export function observeFiles(places: ServerPlaces, etc = '/etc'): FilesSeen {
  const [users, groups] = [namesIn(join(etc, 'passwd')), namesIn(join(etc, 'group'))]
  const seen = new Map<string, FileGroup>()
  const options: OptionFile[] = []
  for (const [kind, path] of pathsOf(places)) {
    const place = placeOf(path, users, groups)
    const name = [kind, place.mode, place.owner, place.group].join(' ')
    const group = seen.get(name)
    if (group) group.count++
    else seen.set(name, { kind, path, ...place, count: 1 })
    if (kind.startsWith('option') && statSync(path).isFile())
      options.push(optionFile(realpathSync(path), place))
  }
  return { user: places.user, files: [...seen.values()], options }
}
