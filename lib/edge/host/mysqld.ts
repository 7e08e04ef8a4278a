/** mysqld as a service of the host: running, confined, with its keyring, and started again where its options changed. */
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { reason, ZtError } from '../../core/errors.ts'
import {
  dropInText,
  failureLines,
  historyText,
  keyringConfig,
  keyringManifest,
  mysqldPaths,
  parseUnitProperties,
  profileWithBlock,
  type UnitProperties,
} from '../../core/host/mysqld.ts'
import type { Change, Finding, Step } from '../../core/plan.ts'
import { readRegularFile } from '../files.ts'
import { settingsOf } from '../install/plan.ts'
import { openRoot } from '../install/server.ts'
import { findUserOrLater, installDefaults } from '../install/target.ts'
import type { OwnedFile } from '../owned_files.ts'
import { planSettings } from '../server_settings.ts'
import { keyringStatus, keyringStep } from './keyring.ts'
import { modesStep } from './modes.ts'
import type { Setup } from './setup.ts'
import { fileStep, type Layer, rootFile, unitStep } from './steps.ts'
import { ask, must } from './system.ts'

/** Enabled and running; while it is not installed that is what its package sees to. */
export async function serviceLayer(setup: Setup): Promise<Layer> {
  const step = await unitStep(setup, {
    id: 'mysql-service',
    description: 'start mysqld, now and at each boot',
    unit: mysqldPaths.unit,
    run: true,
  })
  return { steps: [step], findings: [] }
}

async function unitProperties(): Promise<UnitProperties> {
  const properties = 'NeedDaemonReload,DropInPaths,ExecMainStartTimestamp,MainPID'
  return parseUnitProperties(
    await must('systemctl', 'show', '--timestamp=unix', '-p', properties, mysqldPaths.unit),
  )
}

async function confinementFiles({ wanted }: Setup): Promise<OwnedFile[]> {
  const mysql = await findUserOrLater('mysql')
  const local = mysqldPaths.profileLocal
  const before = existsSync(local) ? readRegularFile(local, 'profile', 1 << 20).toString('utf8') : ''
  return [
    rootFile(mysqldPaths.dropIn, dropInText(wanted.allowRemote ? wanted.allowedCidr : [])),
    rootFile(local, profileWithBlock(before)),
    rootFile(mysqldPaths.manifest, keyringManifest),
    { ...rootFile(mysqldPaths.keyringConfig, keyringConfig, 0o640), gid: mysql.gid },
  ]
}

/** Files that are as they should be, and that a running mysqld started before. */
function takenUpLater(files: OwnedFile[], { startedAt, needsReload }: UnitProperties): Change[] {
  const older = files.filter(({ path }) => {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    return startedAt !== null && stats !== undefined && Math.floor(stats.mtimeMs / 1000) > startedAt
  })
  return [
    ...older.map(({ path }) => ({
      item: `mysqld, of ${path}`,
      before: 'started before it',
      after: 'restarted',
    })),
    ...(needsReload ? [{ item: mysqldPaths.unit, before: 'changed on disk', after: 'read again' }] : []),
  ]
}

function foreignDropIns({ dropIns }: UnitProperties): Finding[] {
  return dropIns
    .filter(path => /^\/(?:etc|run)\/.*\/mysql\.service\.d\//.test(path) && path !== mysqldPaths.dropIn)
    .map(item => ({ item, detail: 'is a drop-in of somebody else: see whether it opens what ours closes' }))
}

const confines = (): boolean => existsSync('/sys/kernel/security/apparmor') && existsSync(mysqldPaths.profile)

async function takeConfinement(): Promise<void> {
  await must('systemctl', 'daemon-reload')
  if (confines()) await must('apparmor_parser', '-r', mysqldPaths.profile)
  await restartMysql()
  const status = await keyringStatus()
  if (status !== 'Active')
    throw new ZtError('MYSQL', `the keyring of mysqld is ${status}, not Active`, {
      hint: `see ${mysqldPaths.errorLog}, and that ${mysqldPaths.keyFile} belongs to mysql`,
    })
}

/** What confines mysqld and gives it a keyring; mysqld takes it up by a restart. */
export async function mysqldLayer(setup: Setup): Promise<Layer> {
  const files = await confinementFiles(setup)
  const unit = await unitProperties()
  const keyring = await keyringStep()
  const status = unit.startedAt === null ? null : await keyringStatus()
  const confinement = fileStep(setup, {
    id: 'confinement',
    description: 'confine mysqld, give it a keyring, and restart it',
    dirs: ['/etc/systemd/system/mysql.service.d'].map(path => ({ path, mode: 0o755, uid: 0, gid: 0 })),
    files,
    changes: [
      ...takenUpLater(files, unit),
      ...(status === null || status === 'Active'
        ? []
        : [{ item: 'keyring of mysqld', before: status, after: 'Active' }]),
    ],
    take: takeConfinement,
  })
  const history = fileStep(setup, {
    id: 'history',
    description: 'let the mysql client keep no history',
    files: [rootFile(mysqldPaths.history, historyText)],
  })
  return {
    steps: [keyring.step, confinement, history, await modesStep(setup)],
    findings: [...keyring.findings, ...foreignDropIns(unit), ...historyFindings()],
  }
}

function historyFindings(): Finding[] {
  const path = '/root/.mysql_history'
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined || !stats.isFile() || stats.size === 0) return []
  return [{ item: path, detail: 'holds statements of the past: remove it' }]
}

/** What mysqld takes up only when it starts again. Its sessions end. */
export async function restartLayer(setup: Setup): Promise<Layer> {
  const { database } = setup
  if (!existsSync(database.socket)) return { steps: [], findings: [] }
  const places = { ...installDefaults, ...database }
  const settings = settingsOf(places, database.hostPart ?? installDefaults.hostPart, true)
  const connection = await openRoot(database.socket)
  try {
    const { restart } = await planSettings(connection, settings)
    const step: Step = {
      id: 'restart',
      description: 'restart mysqld with its new options, which ends its sessions',
      changes: restart,
      apply: () => restartWithOptions(setup),
    }
    return { steps: [step], findings: [] }
  } finally {
    await connection.close()
  }
}

/** Where it does not start with the new options, the old ones come back. */
async function restartWithOptions(setup: Setup): Promise<void> {
  try {
    await restartMysql()
  } catch (thrown) {
    setup.undoOptions?.()
    try {
      await restartMysql()
    } catch (again) {
      throw new ZtError('MYSQL', `${reason(thrown)}; and with the options of before: ${reason(again)}`, {
        hint: 'vm_oneclick rollback puts the options of the distribution back',
        cause: thrown,
      })
    }
    throw thrown
  }
}

/** Options are tried beside the running server first: what it would not start with must not end it. */
async function refuseBadOptions(): Promise<void> {
  const tried = ['--reuid=mysql', '--regid=mysql', '--clear-groups', 'mysqld', '--validate-config']
  const { exitCode, stdout, stderr } = await ask('setpriv', ...tried)
  if (exitCode === 0) return
  const said = failureLines(`${stdout}\n${stderr}`).join(' | ')
  throw new ZtError('MYSQL', `mysqld would not start again: ${said}`, {
    hint: 'an option file of somebody else may be wrong: see mysqld --validate-config',
  })
}

/** Restarts it, or says why it cannot be; a server that runs goes on where its options are bad. */
export async function restartMysql(): Promise<void> {
  await refuseBadOptions()
  const { exitCode } = await ask('systemctl', 'restart', mysqldPaths.unit) // the log says more than systemctl
  if (exitCode === 0 && existsSync(installDefaults.socket)) return
  const log = existsSync(mysqldPaths.errorLog) ? readFileSync(mysqldPaths.errorLog, 'utf8') : ''
  const journal = await ask('journalctl', '-q', '-o', 'cat', '-n', '4', '-u', mysqldPaths.unit)
  const said = [...failureLines(log), ...journal.stdout.trim().split('\n')].join(' | ')
  throw new ZtError('MYSQL', `mysqld does not start: ${said}`, { hint: `see ${mysqldPaths.errorLog}` })
}
