/** What a rollback takes back, of what the journal keeps; and what it leaves, and why. */
import { mysqldPaths } from './mysqld.ts'

/** Without these mysqld could not read its own tables any more. */
export const keptFiles: readonly string[] = [
  mysqldPaths.manifest,
  mysqldPaths.keyringConfig,
  mysqldPaths.profileLocal,
]

export const staysBehind: readonly string[] = [
  'data, audit trail, accounts and the owner of the routines, in /var/lib/mysql',
  `the keys of what is encrypted at rest (${mysqldPaths.keyFile}), what names them to mysqld, and its AppArmor lines`,
  'certificates in /etc/ztmysql/tls, the keys and anchors in /var/lib/ztmysql, and the record of the installation: with them apply needs no archive',
  'packages, system users, and values of the kernel until the next boot',
]
