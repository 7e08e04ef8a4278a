/** fail2ban: jails for refused log-ins of sshd and of MySQL, observed in the running server. */
import { ZtError } from '../../core/errors.ts'
import {
  expressionsInFiles,
  type Fail2banFacts,
  fail2banChanges,
  filterPath,
  filterText,
  jailNames,
  jailPath,
  jailText,
  type RunningJail,
} from '../../core/host/fail2ban.ts'
import type { Change } from '../../core/plan.ts'
import { isInstalled } from '../shell.ts'
import { sshPorts } from './firewall_ssh.ts'
import { fileStep, type Host, type Layer, rootFile } from './steps.ts'
import { ask, askWith, must, unitState } from './system.ts'

const unit = 'fail2ban.service'

/** `|- ` and `` `- `` lines of what fail2ban-client prints, without their marks. */
const listed = (text: string): string[] =>
  text
    .split('\n')
    .filter(line => /^[|`]- /.test(line))
    .map(line => line.slice(3).trim())

/** Its client's prompt: at the start of a line, or behind another one where a command got no answer. */
const prompt = /(?:^|(?<=fail2ban> ))fail2ban> /m

/** What the running server answers, in one session: each start of its client costs a tenth of a second. @throws IO */
async function answersTo(commands: string[]): Promise<string[]> {
  const input = [...commands, 'exit'].map(line => `${line}\n`).join('')
  const { exitCode, stdout, stderr } = await askWith(input, 'fail2ban-client', '-i')
  const [, ...answers] = stdout.split(prompt)
  if (exitCode === 0 && answers.length === commands.length + 1) return answers.map(each => each.trim())
  throw new ZtError('IO', `fail2ban-client -i: exit ${exitCode}: ${stderr.trim()}`, {
    hint: `see: fail2ban-client status; journalctl -u ${unit}`,
  })
}

const asked = [
  'maxretry',
  'findtime',
  'bantime',
  'ignoreip',
  'actions',
  'failregex',
  'logpath',
  'journalmatch',
] as const
const action = 'nftables'

const questionsOn = (jail: string): string[] => [
  ...asked.map(what => `get ${jail} ${what}`),
  `get ${jail} action ${action} port`, // where there is another action, it is that which differs
]

function runningJail(jail: string, answers: string[], dump: string): RunningJail {
  const of = (what: (typeof asked)[number]): string => answers[asked.indexOf(what)] ?? ''
  const rest = (what: 'actions' | 'journalmatch'): string => of(what).split('\n').slice(1).join(' ').trim()
  const files = listed(of('logpath'))
  return {
    maxretry: of('maxretry'),
    findtime: of('findtime'),
    bantime: of('bantime'),
    ignoreip: listed(of('ignoreip')),
    actions: rest('actions')
      .split(/[\s,]+/)
      .filter(Boolean),
    port: answers[asked.length] ?? '',
    expressions: listed(of('failregex')).length,
    expressionsInFiles: expressionsInFiles(dump, jail),
    watches: files.length > 0 ? files.join(' ') : rest('journalmatch'),
  }
}

/** The running server's own word; nothing where it does not run. */
export async function observeFail2ban(): Promise<Fail2banFacts> {
  const state = await unitState(unit)
  if (!isInstalled('fail2ban-client')) return { unit: state, jails: {}, names: [] }
  const [[pong = '', status = '', ...answers], { stdout: dump }] = await Promise.all([
    answersTo(['ping', 'status', ...jailNames.flatMap(questionsOn)]),
    ask('fail2ban-client', '-d'), // files that are no good are found by -t, at the next load
  ])
  if (!pong.includes('pong')) return { unit: state, jails: {}, names: [] }
  const names = (/Jail list:\s*(.*)$/m.exec(status)?.[1] ?? '').split(/[\s,]+/).filter(Boolean)
  const each = asked.length + 1
  const jails = jailNames.flatMap((name, i) =>
    names.includes(name)
      ? [[name, runningJail(name, answers.slice(i * each, (i + 1) * each), dump)] as const]
      : [],
  )
  return { unit: state, jails: Object.fromEntries(jails), names }
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
