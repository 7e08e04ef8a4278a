/** The anchor as a service of the host, the hourly look for drift, and the metrics: units, timers, and a first anchor. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { anchorNumber } from '../../core/audit/anchor.ts'
import { ZtError } from '../../core/errors.ts'
import {
  binaryPath,
  formatUnit,
  parseExposure,
  storeFolder,
  timers,
  type Unit,
  unitsOf,
} from '../../core/host/units.ts'
import type { Change, Finding, Step } from '../../core/plan.ts'
import { findUser, installDefaults } from '../install/target.ts'
import { type OwnedDir, type Owner, sha256Hex } from '../owned_files.ts'
import { isCompiled } from './binary.ts'
import { hostDefaults, type Setup } from './setup.ts'
import { fileStep, type Layer, rootFile, unitStep } from './steps.ts'
import { ask, must } from './system.ts'

export const unitFolder = '/etc/systemd/system'
/** The digest of the program as it was installed, in the form of sha256sum. */
export const binaryDigestPath = '/etc/ztmysql/binary.sha256'
const anchorUnit = 'ztmysql-anchor.service'

export function installedUnits({ worm, logHost }: { worm: string; logHost: string | null }): Unit[] {
  const { anchorUser: user, anchorDir: state } = installDefaults
  return unitsOf({ user, state, worm, ships: logHost !== null })
}

const ownDir = (path: string, owner: Owner): OwnedDir => ({ path, mode: 0o750, ...owner })

/** Ours are made; a store somewhere else is a mount or an export of somebody who knows who may write there. */
function folderChanges(worm: string, owner: Owner | null): { dirs: OwnedDir[]; changes: Change[] } {
  const folder = storeFolder(worm)
  if (worm !== hostDefaults.worm) {
    if (folder === null || existsSync(folder)) return { dirs: [], changes: [] }
    throw new ZtError('NOT_FOUND', `store ${worm}: no such folder`, {
      hint: `mount or create it, and give it to ${installDefaults.anchorUser}`,
    })
  }
  if (owner === null) return { dirs: [], changes: [{ item: worm, before: null, after: '0750 folder' }] }
  return { dirs: [ownDir(worm, owner)], changes: [] }
}

interface Loaded {
  name: string
  dropIns: string[]
  stale: boolean
}

/** What systemd has loaded of each, in their order. */
async function loadedUnits(names: string[]): Promise<Loaded[]> {
  if (names.length === 0) return []
  const text = await must('systemctl', 'show', '-p', 'DropInPaths', '-p', 'NeedDaemonReload', ...names)
  return text
    .trim()
    .split('\n\n')
    .map((block, i) => {
      const value = (property: string) => new RegExp(`^${property}=(.*)$`, 'm').exec(block)?.[1] ?? ''
      return {
        name: names[i] ?? '',
        dropIns: value('DropInPaths').split(' ').filter(Boolean),
        stale: value('NeedDaemonReload') === 'yes',
      }
    })
}

/** What a drop-in changes is in no file of ours, and a fence may be among it. */
async function unitFindings(units: Unit[]): Promise<{ findings: Finding[]; changes: Change[] }> {
  const findings: Finding[] = []
  const changes: Change[] = []
  const there = units.map(({ name }) => name).filter(name => existsSync(join(unitFolder, name)))
  for (const { name, dropIns, stale } of await loadedUnits(there)) {
    for (const path of dropIns)
      findings.push({ item: `unit ${name}`, detail: `is changed by ${path}, which is not ours` })
    if (stale) changes.push({ item: `unit ${name}`, before: 'loaded as it was', after: 'loaded as it is' })
  }
  return { findings, changes }
}

function binaryFile() {
  if (!isCompiled()) return []
  return [rootFile(binaryDigestPath, `${sha256Hex(readFileSync(process.execPath))}  ${binaryPath}\n`)]
}

const spool = join(installDefaults.anchorDir, 'spool')

const neverAnchored = (): boolean =>
  !existsSync(spool) || !readdirSync(spool).some(name => anchorNumber(name) !== undefined)

/** One anchor, made by the service. @throws IO with what it said */
async function startAnchor(): Promise<void> {
  const { exitCode } = await ask('systemctl', 'start', anchorUnit)
  if (exitCode === 0) return
  const said = (await must('journalctl', '-u', anchorUnit, '-n', '20', '-o', 'cat', '--no-pager'))
    .split('\n')
    .filter(line => /error: |hint: /.test(line))
  throw new ZtError('IO', `${anchorUnit}: ${said.slice(-2).join('; ') || 'failed'}`, {
    hint: `see journalctl -u ${anchorUnit}`,
  })
}

/**
 * How root makes an anchor whose key is another account's: by the service of this host. Undefined where the key is its
 * own. @throws PERMISSION where no service of ours has this state
 */
export function anchorByService(state: string): (() => Promise<void>) | undefined {
  const owner = statSync(state, { throwIfNoEntry: false })?.uid ?? 0
  if (process.geteuid?.() !== 0 || owner === 0) return undefined
  if (resolve(state) === installDefaults.anchorDir && existsSync(join(unitFolder, anchorUnit)))
    return startAnchor
  throw new ZtError('PERMISSION', `${state}: the key there is of another account (uid ${owner})`, {
    hint: `leave --anchor-now out, and have anchors made meanwhile: anchor_head loop --every 5 --state ${state} --worm DIR`,
  })
}

/** Without a first anchor no write is taken: why wait for the timer. */
function firstAnchorStep(): Step {
  return {
    id: 'first-anchor',
    description: 'anchor once, which opens the gate',
    changes: neverAnchored() ? [{ item: 'first anchor', before: null, after: 'in the store' }] : [],
    apply: startAnchor,
  }
}

/** `ztmysql-anchor.service: 0.2 SAFE`, of systemd's own judge; null where it has none. */
export async function exposureOf(unit: string): Promise<{ score: number; verdict: string } | null> {
  return parseExposure((await ask('systemd-analyze', 'security', '--no-pager', unit)).stdout)
}

export async function anchorLayer(setup: Setup): Promise<Layer> {
  const { wanted } = setup
  const owner = await findUser(installDefaults.anchorUser)
  const units = installedUnits(wanted)
  const { dirs, changes } = folderChanges(wanted.worm, owner)
  const loaded = await unitFindings(units)
  const files = units.map(unit => rootFile(join(unitFolder, unit.name), formatUnit(unit)))
  const write = fileStep(setup, {
    id: 'anchor-units',
    description: 'write the units of the anchor, of the look for drift and of the metrics',
    dirs: [{ path: '/var/lib/ztmysql', mode: 0o755, uid: 0, gid: 0 }, ...dirs],
    files: [...files, ...binaryFile()],
    changes: [...changes, ...loaded.changes],
    take: async () => {
      await must('systemctl', 'daemon-reload')
      await must('systemctl', 'try-restart', ...timers)
    },
  })
  const run = await Promise.all(
    timers.map(unit =>
      unitStep(setup, {
        id: unit.replace('ztmysql-', '').replace('.', '-'),
        description: `run ${unit}`,
        unit,
        run: true,
      }),
    ),
  )
  return { steps: [write, firstAnchorStep(), ...run], findings: loaded.findings }
}
