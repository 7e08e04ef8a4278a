/** The record of an installation: what `check` holds the host and the server against once the archive is gone. */

import { ZtError } from '../../core/errors.ts'
import { formatInstallRecord, type InstallRecord, passwordDigest } from '../../core/install_record.ts'
import type { Change, Step } from '../../core/plan.ts'
import { type DesiredAccount, isFirst, type ObservedAccount, observeAccounts } from '../accounts.ts'
import { fileChange, type OwnedFile, putFile } from '../owned_files.ts'
import { anchorFiles, filesDigest, recordFile, recordPath, tlsFiles } from '../server_files.ts'
import type { Target } from './target.ts'

type FromArchive = Pick<
  InstallRecord,
  'serverName' | 'caSha256' | 'serverNotAfter' | 'crlNextUpdate' | 'loadedTls' | 'files'
>

function fromArchive(target: Target): FromArchive {
  const { material, record, places, owners } = target
  if (material !== null) {
    const { archive } = material
    const tls = tlsFiles(places, owners, archive).files
    return {
      serverName: archive.serverName,
      caSha256: material.caSha256,
      serverNotAfter: material.server.notAfter,
      crlNextUpdate: material.crlNextUpdate,
      loadedTls: filesDigest(tls),
      files: [...tls, ...anchorFiles(places, owners, archive).files].map(recordFile),
    }
  }
  if (record === null) throw new ZtError('INTERNAL', 'neither an archive nor a record')
  return record
}

/** null while an account of it is still to be made, so that what MySQL stores for its password is not known yet. */
function nextRecord(
  target: Target,
  wanted: DesiredAccount[],
  accounts: ObservedAccount[],
): InstallRecord | null {
  const { material, record, origin, hostPart, anchorUser, places } = target
  const { serverName, caSha256, serverNotAfter, crlNextUpdate, loadedTls, files } = fromArchive(target)
  const given = new Map(
    material === null
      ? record?.accounts.map(({ account, tenant, password }) => [account, { tenant, password }])
      : material.archive.accounts.map(({ account, tenant, password }) => [
          account,
          { tenant, password: passwordDigest(account, password) },
        ]),
  )
  const entries: InstallRecord['accounts'] = []
  for (const { user, host, role, subject, issuer, stored } of wanted.filter(isFirst)) {
    const now = accounts.find(account => account.user === user && account.host === host)?.stored ?? null
    const from = given.get(user)
    if (from === undefined || now === null) return null
    // without the archive a password that changed is a finding, and the record goes on saying what it was
    const keep = material === null ? (stored ?? now) : now
    entries.push({
      account: user,
      role,
      tenant: from.tenant,
      subject,
      issuer,
      password: from.password,
      stored: keep,
    })
  }
  return {
    v: 1,
    kind: 'ztmysql-installation',
    origin,
    serverName,
    hostPart,
    anchorUser,
    tlsDir: places.tlsDir,
    anchorDir: places.anchorDir,
    caSha256,
    serverNotAfter,
    crlNextUpdate,
    loadedTls,
    files,
    accounts: entries,
  }
}

const recordAsFile = (target: Target, record: InstallRecord): OwnedFile => ({
  path: recordPath(target.places),
  mode: 0o600,
  ...target.owners.root,
  bytes: formatInstallRecord(record),
})

function changes(target: Target, next: InstallRecord | null): Change[] {
  const { record, material, hostPart, anchorUser } = target
  if (next !== null) return fileChange(recordAsFile(target, next))
  // an account that is gone and cannot be made without an archive keeps its line in the record
  if (material === null && record?.hostPart === hostPart && record.anchorUser === anchorUser) return []
  return [
    {
      item: recordPath(target.places),
      before: record === null ? null : 'of the last run',
      after: 'of this run',
    },
  ]
}

/** Writes the record of what is there now. */
export async function writeRecord(target: Target, wanted: DesiredAccount[]): Promise<void> {
  const next = nextRecord(target, wanted, await observeAccounts(target.connection))
  if (next === null) throw new ZtError('MYSQL', 'an account that was made is not there')
  putFile(recordAsFile(target, next))
}

/** Where no account changes; else their own step writes it, as only it knows the passwords that it set. */
export function recordStep(target: Target, wanted: DesiredAccount[], accounts: ObservedAccount[]): Step {
  return {
    id: 'record',
    description: 'keep what check needs once the archive is gone (no secret)',
    changes: changes(target, nextRecord(target, wanted, accounts)),
    apply: () => writeRecord(target, wanted),
  }
}
