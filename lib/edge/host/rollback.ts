/** Takes back what was changed on the host, from the journal: files, modes, units, and the options of mysqld. */
import { chmodSync, chownSync, existsSync, readFileSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import { mysqldPaths } from '../../core/host/mysqld.ts'
import { keptFiles } from '../../core/host/rollback.ts'
import { applyPlan, type Change, type Plan, type Progress, pendingSteps, type Step } from '../../core/plan.ts'
import { removeFile } from '../file_error.ts'
import { describeFile } from '../owned_files.ts'
import { configPath, initPath } from '../server_files.ts'
import { Journal, type JournalEntry } from './journal.ts'
import { restartMysql } from './mysqld.ts'
import { lockHost } from './plan.ts'
import { optionFolder } from './setup.ts'
import { ask, must, unitState } from './system.ts'

export { staysBehind } from '../../core/host/rollback.ts'

type Of<K extends JournalEntry['kind']> = JournalEntry & { kind: K }

const ofKind = <K extends JournalEntry['kind']>(entries: JournalEntry[], kind: K): Of<K>[] =>
  entries.filter((entry): entry is Of<K> => entry.kind === kind).reverse()

/** Units first, while their files are still there: none of ours may act between two steps. */
async function unitsStep(journal: Journal, entries: JournalEntry[]): Promise<Step> {
  const units = ofKind(entries, 'unit').filter(({ name }) => name !== mysqldPaths.unit)
  const changes: Change[] = []
  for (const { name, before } of units) {
    const now = await unitState(name)
    const after = `${before.enabled}, ${before.active}`
    const differs = `${now.enabled}, ${now.active}` !== after
    if (differs) changes.push({ item: `unit ${name}`, before: `${now.enabled}, ${now.active}`, after })
  }
  return {
    id: 'units',
    description: 'put units back as they were',
    changes,
    apply: async () => {
      for (const entry of units) {
        const { name, before } = entry
        const known = (await unitState(name)).enabled !== 'not-found'
        if (known) await must('systemctl', before.enabled === 'enabled' ? 'enable' : 'disable', name)
        if (known) await must('systemctl', before.active === 'active' ? 'start' : 'stop', name)
        journal.forget(entry)
      }
    },
  }
}

const described = (before: Of<'file'>['before']): string | null =>
  before === null
    ? null
    : `${before.mode.toString(8).padStart(4, '0')} ${before.uid}:${before.gid} sha256:${before.sha256.slice(0, 16)}`

const nowAt = (path: string): string | null =>
  path.startsWith('/usr/local/sbin/') ? 'ours' : describeFile(path)

function filesStep(journal: Journal, entries: JournalEntry[]): Step {
  const files = ofKind(entries, 'file').filter(({ name }) => !keptFiles.includes(name))
  return {
    id: 'files',
    description: 'put files back as they were, and away what was not there',
    changes: files
      .map(({ name, before }) => ({
        item: name,
        before: existsSync(name) ? nowAt(name) : null,
        after: described(before),
      }))
      .filter(({ before, after }) => before !== after),
    apply: async () => {
      for (const entry of files) {
        journal.restoreFile(entry)
        journal.forget(entry)
      }
      await must('systemctl', 'daemon-reload')
      await takeFirewallBack()
      await ask('systemctl', 'try-restart', 'fail2ban.service', 'rsyslog.service') // one of them may be gone
    },
  }
}

async function takeFirewallBack(): Promise<void> {
  const conf = '/etc/ufw/ufw.conf'
  if (!existsSync(conf)) return
  const enabled = /^ENABLED=yes$/m.test(readFileSync(conf, 'utf8'))
  await (enabled ? must('ufw', 'reload') : must('ufw', '--force', 'disable'))
}

const modePrefix = 'mode '

function modesBackStep(journal: Journal, entries: JournalEntry[]): Step {
  const modes = ofKind(entries, 'setting').filter(({ name }) => name.startsWith(modePrefix))
  return {
    id: 'modes',
    description: 'put modes and owners back as they were',
    changes: modes.map(({ name, before }) => ({
      item: name.slice(modePrefix.length),
      before: 'ours',
      after: before,
    })),
    apply: async () => {
      for (const entry of modes) {
        const path = entry.name.slice(modePrefix.length)
        const [, mode, uid, gid] = /^([0-7]{4}) (\d+):(\d+)$/.exec(entry.before ?? '') ?? []
        if (mode === undefined) throw new ZtError('BAD_FORMAT', `journal: ${entry.name}: not a mode`)
        if (existsSync(path)) {
          chownSync(path, Number(uid), Number(gid))
          chmodSync(path, Number.parseInt(mode, 8))
        }
        journal.forget(entry)
      }
    },
  }
}

/** Last: the option file goes, and mysqld starts as the distribution has it, with the keys of its tables. */
function optionsStep(): Step {
  const places = { confDir: optionFolder(), tlsDir: '', anchorDir: '' }
  const files = [configPath(places), initPath(places)].filter(existsSync)
  return {
    id: 'options',
    description: "restart mysqld with the distribution's options, which ends its sessions",
    changes: files.map(item => ({ item, before: describeFile(item), after: null })),
    apply: async () => {
      files.forEach(removeFile)
      await restartMysql()
    },
  }
}

async function planRollback(journal: Journal): Promise<Plan> {
  const entries = journal.entries()
  // the folder of options is known from a record that `files` takes away, hence planned before
  const options = optionsStep()
  const steps = [
    await unitsStep(journal, entries),
    filesStep(journal, entries),
    modesBackStep(journal, entries),
    options,
  ]
  return { steps, findings: [], restart: [] }
}

export interface RollbackOptions {
  dryRun?: boolean
  confirm?(plan: Plan): Promise<boolean>
  progress?: Progress
}

/** Interrupted it is run again: what was taken back is forgotten by the journal, one thing at a time. */
export async function rollbackHost({
  dryRun = false,
  confirm,
  progress,
}: RollbackOptions): Promise<{ plan: Plan; done: string[] }> {
  const journal = new Journal()
  const plan = await planRollback(journal)
  if (dryRun || pendingSteps(plan).length === 0) return { plan, done: [] }
  if (confirm && !(await confirm(plan)))
    throw new ZtError('REFUSED', 'not confirmed: nothing was changed', {
      hint: 'give --yes to apply the plan',
    })
  const release = lockHost()
  try {
    return { plan, done: (await applyPlan(plan, progress)).map(step => step.id) }
  } finally {
    release()
  }
}
