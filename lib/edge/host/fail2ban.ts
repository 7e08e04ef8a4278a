/** fail2ban: jails for refused log-ins of sshd and of MySQL, observed in the running server. */
import { ZtError } from '../../core/errors.ts'
import {
  expressionsInFiles,
  type Fail2banFacts,
  fail2banChanges,
  filterPath,
  filterText,
  jailPath,
  jailText,
  type RunningJail,
} from '../../core/host/fail2ban.ts'
import type { Change } from '../../core/plan.ts'
import { isInstalled } from '../shell.ts'
import { sshPorts } from './firewall_ssh.ts'
import { fileStep, type Host, type Layer, rootFile } from './steps.ts'
import { ask, must, unitState } from './system.ts'

const unit = 'fail2ban.service'

/** `|- ` and `` `- `` lines of what fail2ban-client prints, without their marks. */
const listed = (text: string): string[] =>
  text
    .split('\n')
    .filter(line => /^[|`]- /.test(line))
    .map(line => line.slice(3).trim())

async function get(jail: string, ...what: string[]): Promise<string> {
  return (await must('fail2ban-client', 'get', jail, ...what)).trim()
}

async function runningJail(jail: string, dump: string): Promise<RunningJail> {
  const actions = (await get(jail, 'actions'))
    .split('\n')
    .slice(1)
    .join(' ')
    .split(/[\s,]+/)
    .filter(Boolean)
  const [first] = actions
  const files = listed(await get(jail, 'logpath'))
  const journal = (await get(jail, 'journalmatch')).split('\n').slice(1).join(' ').trim()
  return {
    maxretry: await get(jail, 'maxretry'),
    findtime: await get(jail, 'findtime'),
    bantime: await get(jail, 'bantime'),
    ignoreip: listed(await get(jail, 'ignoreip')),
    actions,
    port: first === undefined ? '' : await get(jail, 'action', first, 'port'),
    expressions: listed(await get(jail, 'failregex')).length,
    expressionsInFiles: expressionsInFiles(dump, jail),
    watches: files.length > 0 ? files.join(' ') : journal,
  }
}

/** The running server's own word; nothing where it does not run. */
export async function observeFail2ban(): Promise<Fail2banFacts> {
  const state = await unitState(unit)
  if (!(await isInstalled('fail2ban-client')) || (await ask('fail2ban-client', 'ping')).exitCode !== 0)
    return { unit: state, jails: {}, names: [] }
  const names = (/Jail list:\s*(.*)$/m.exec(await must('fail2ban-client', 'status'))?.[1] ?? '')
    .split(/[\s,]+/)
    .filter(Boolean)
  const dump = (await ask('fail2ban-client', '-d')).stdout // files that are no good are found by -t, at the next load
  const jails: Record<string, RunningJail> = {}
  for (const name of names)
    if (name === 'sshd' || name === 'ztmysql') jails[name] = await runningJail(name, dump)
  return { unit: state, jails, names }
}

const patienceMs = 30_000

/** Its unit is up before its socket is. @throws IO */
async function whenUp(): Promise<void> {
  for (const end = Date.now() + patienceMs; Date.now() < end; await Bun.sleep(100))
    if ((await ask('fail2ban-client', 'ping')).exitCode === 0) return
  throw new ZtError('IO', 'fail2ban does not answer', { hint: `see: journalctl -u ${unit}` })
}

/** Loads the files, and sees that the jails run as they say. Bans that stand go on. */
async function take(ports: number[]): Promise<void> {
  await must('fail2ban-client', '-t')
  await must('systemctl', 'enable', unit)
  const { active } = await unitState(unit)
  if (active === 'active') {
    await whenUp()
    await must('fail2ban-client', 'reload')
  } else await must('systemctl', 'start', unit)
  await whenUp()
  const [first] = await settled(ports)
  if (first === undefined) return
  throw new ZtError('IO', `fail2ban did not take it: ${first.item}: ${first.before ?? 'missing'}`, {
    hint: 'another file in /etc/fail2ban/jail.d that comes after ztmysql.local may say otherwise; see: fail2ban-client -d',
  })
}

/** What still differs once the jails had time to start one after the other. */
async function settled(ports: number[]): Promise<Change[]> {
  for (const end = Date.now() + patienceMs; ; await Bun.sleep(200)) {
    const changes = fail2banChanges(await observeFail2ban(), ports)
    if (changes.every(({ before }) => before !== null) || Date.now() > end) return changes
  }
}

export async function fail2banLayer(host: Host): Promise<Layer> {
  const ports = await sshPorts()
  const before = await unitState(unit)
  const step = fileStep(host, {
    id: 'intrusion',
    description: 'fail2ban: jails for refused log-ins of sshd and MySQL',
    files: [rootFile(jailPath, jailText(ports)), rootFile(filterPath, filterText)],
    changes: fail2banChanges(await observeFail2ban(), ports),
    take: () => take(ports),
  })
  const apply = async (): Promise<void> => {
    host.journal.keep({ kind: 'unit', name: unit, before })
    await step.apply()
  }
  return { steps: [{ ...step, apply }], findings: [] }
}
