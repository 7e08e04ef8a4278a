/** The files that an installation puts on the host: where, whose, and with which mode. */
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import type { RecordedFile } from '../core/install_record.ts'
import { type Change, type Finding, formatChange } from '../core/plan.ts'
import type { ServerArchive } from '../core/server_archive.ts'
import {
  describeFile,
  describeOwned,
  dirChange,
  fileChange,
  type OwnedDir,
  type OwnedFile,
  type Owner,
  putDir,
  putFile,
  sha256Hex,
} from './owned_files.ts'

export interface Places {
  confDir: string
  tlsDir: string
  anchorDir: string
}

/** Who owns what: the installer, the account that mysqld runs as, the account of the anchor service. */
export interface Owners {
  root: Owner
  mysqld: Owner
  anchor: Owner
}

export const configPath = ({ confDir }: Places): string => join(confDir, 'zero-trust.cnf')
/** Not *.cnf, so mysqld does not read it as options. */
export const initPath = ({ confDir }: Places): string => join(confDir, 'zero-trust-init.sql')
export const recordPath = ({ confDir }: Places): string => join(confDir, 'zero-trust.json')

export interface HostFiles {
  dirs: OwnedDir[]
  files: OwnedFile[]
}

/** Options and init file: known without an archive. Not world-readable, as dev-sec conf-07 and conf-08 ask. */
export function configFiles(
  places: Places,
  owners: Owners,
  texts: { config: string; init: string },
): OwnedFile[] {
  const owner = { uid: owners.root.uid, gid: owners.mysqld.gid }
  return [
    { path: configPath(places), mode: 0o640, ...owner, bytes: texts.config },
    { path: initPath(places), mode: 0o640, ...owner, bytes: texts.init },
  ]
}

/** Certificates in a folder of root's that mysqld may read; the key is mysqld's alone. */
export function tlsFiles({ tlsDir }: Places, owners: Owners, archive: ServerArchive): HostFiles {
  const owner = { uid: owners.root.uid, gid: owners.mysqld.gid }
  const readable = (name: string, bytes: string): OwnedFile => ({
    path: join(tlsDir, name),
    mode: 0o640,
    ...owner,
    bytes,
  })
  return {
    dirs: [{ path: tlsDir, mode: 0o750, ...owner }],
    files: [
      readable('ca.pem', archive.ca),
      readable('crl.pem', archive.crl),
      readable('server-cert.pem', archive.certificate),
      { path: join(tlsDir, 'server-key.pem'), mode: 0o600, ...owners.mysqld, bytes: archive.key },
    ],
  }
}

/** The signing keys of the anchor, in a folder that only its service enters. */
export function anchorFiles({ anchorDir }: Places, owners: Owners, archive: ServerArchive): HostFiles {
  return {
    dirs: [{ path: anchorDir, mode: 0o700, ...owners.anchor }],
    files: [
      { path: join(anchorDir, 'anchor_key.json'), mode: 0o600, ...owners.anchor, bytes: archive.anchorKey },
    ],
  }
}

export const hostFileChanges = ({ dirs, files }: HostFiles): Change[] => [
  ...dirs.flatMap(dirChange),
  ...files.flatMap(fileChange),
]

/** Puts in place what differs, folders first. */
export function putHostFiles({ dirs, files }: HostFiles): void {
  for (const dir of dirs) if (dirChange(dir).length > 0) putDir(dir)
  for (const file of files) if (fileChange(file).length > 0) putFile(file)
}

/** One digest over TLS files, in the order given. */
export const filesDigest = (files: OwnedFile[]): string =>
  sha256Hex(files.map(file => sha256Hex(file.bytes)).join())

export const recordFile = (file: OwnedFile): RecordedFile => ({
  path: file.path,
  mode: file.mode,
  owner: `${file.uid}:${file.gid}`,
  sha256: sha256Hex(file.bytes),
})

/** What became of files that only the archive could write again. */
export function recordedFileFindings(files: RecordedFile[]): Finding[] {
  return files.flatMap(file => {
    const after = describeOwned(file)
    const before = describeFile(file.path)
    if (before === after) return []
    return [
      {
        item: file.path,
        detail: `${formatChange({ item: 'changed', before, after })}: apply the archive again (make a new one with outside_pki)`,
      },
    ]
  })
}

/** @throws USAGE unless the anchor's account can be given its key: only root gives files away */
export function checkOwners(owners: Owners): void {
  const { root, mysqld, anchor } = owners
  if (root.uid !== 0 && (mysqld.uid !== root.uid || anchor.uid !== root.uid))
    throw new ZtError('PERMISSION', 'the key of the server must belong to the account that mysqld runs as', {
      hint: 'run it with sudo',
    })
}
