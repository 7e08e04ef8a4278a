/** What the firewall of a database host shall be, and every way in which one that is there differs. */
import type { Change, Finding } from '../plan.ts'
import { type Cidr, contains, everybody, formatCidr, parseCidr } from './cidr.ts'
import { isStock, type KernelView, type Opening, opensPort, readKernel } from './firewall_kernel.ts'
import { hasPort, isOpening, openRule, parseRules, type Rule } from './firewall_rules.ts'
import { blockFault } from './firewall_text.ts'
import type { HostRecord } from './record.ts'

export const mysqlPort = 3306

/** As read from the host; a file or tool that is not there reads as ''. */
export interface FirewallFacts {
  /** /etc/ufw/ufw.conf, /etc/default/ufw, /etc/ufw/user.rules, /etc/ufw/user6.rules. */
  conf: string
  defaults: string
  user: string
  user6: string
  /** `iptables -S` and `ip6tables -S`; null where the kernel speaks no IPv6. */
  kernel: string
  kernel6: string | null
  /** Ports that sshd listens on or is set up for. */
  sshPorts: number[]
  /** As `systemctl is-enabled ufw` says. */
  unit: string
  /** Other services that load rules, and would wipe out UFW's. */
  rivals: string[]
}

export type FirewallWanted = Pick<HostRecord, 'allowRemote' | 'allowedCidr'>

/** Networks that may reach MySQL; none without remote access. @throws BAD_INPUT */
export const mysqlSources = ({ allowRemote, allowedCidr }: FirewallWanted): Cidr[] =>
  allowRemote ? allowedCidr.map(parseCidr) : []

/** NAME=value of a file that a shell reads; the last one counts. */
export const settingOf = (text: string, name: string): string | null =>
  [...text.matchAll(new RegExp(`^[ \\t]*${name}=["']?([^"'\\n]*)["']?[ \\t]*$`, 'gm'))].at(-1)?.[1] ?? null

/**
 * Settings of /etc/default/ufw. UFW applies a sysctl file of its own at each start, behind sysctl.d, and its
 * log_martians=0 would undo ours: the values of that file are in the list of kernel settings instead.
 */
export const ufwDefaults: readonly [name: string, value: string][] = [
  ['IPV6', 'yes'],
  ['DEFAULT_INPUT_POLICY', 'DROP'],
  ['DEFAULT_OUTPUT_POLICY', 'ACCEPT'],
  ['DEFAULT_FORWARD_POLICY', 'DROP'],
  ['IPT_SYSCTL', ''],
]

export const rulesOf = (facts: Pick<FirewallFacts, 'user' | 'user6'>): Rule[] => [
  ...parseRules(facts.user, 4),
  ...parseRules(facts.user6, 6),
]

const name = (source: Cidr): string => (source.bits === 0 ? 'anywhere' : formatCidr(source))
const family = (rule: { family: 4 | 6 }): string => `IPv${rule.family}`

export const describeRule = (rule: Rule): string =>
  [
    rule.action,
    `${rule.ports === 'any' ? 'every port' : rule.ports}/${rule.proto}`,
    ...(rule.iface === null ? [] : [`on ${rule.iface}`]),
    `from ${name(rule.source)}`,
    family(rule),
  ].join(' ')

export interface RulePlan {
  add: Rule[]
  remove: Rule[]
}

const same = (a: Rule, b: Rule): boolean =>
  a.family === b.family &&
  a.action === b.action &&
  a.proto === b.proto &&
  a.ports === b.ports &&
  a.iface === b.iface &&
  a.narrowed === b.narrowed &&
  a.source.first === b.source.first &&
  a.source.bits === b.source.bits

/**
 * SSH is opened to everybody, unless a rule of the administrator's names its port already: a narrower one of his stays
 * as it is. It is not limited here: what fails is fail2ban's and sshd's own matter, and six connections in half a minute
 * are a deployment as often as an attack. Rules for MySQL's port alone are this program's, and those not wanted go.
 */
export function planRules(facts: FirewallFacts, wanted: FirewallWanted): RulePlan {
  const rules = rulesOf(facts)
  const families: (4 | 6)[] = facts.kernel6 === null ? [4] : [4, 6]
  const ssh = facts.sshPorts
    .filter(
      port =>
        !rules.some(
          rule =>
            isOpening(rule) && rule.proto !== 'udp' && rule.ports !== 'any' && hasPort(rule.ports, port),
        ),
    )
    .flatMap(port => families.map(each => openRule(port, everybody(each), 'ztmysql: SSH')))
  const mysql = mysqlSources(wanted).map(source => openRule(mysqlPort, source, 'ztmysql: MySQL'))
  const missing = mysql.filter(rule => !rules.some(each => same(each, rule)))
  const ours = (rule: Rule): boolean => isOpening(rule) && rule.ports === String(mysqlPort)
  const remove = rules.filter(rule => ours(rule) && !mysql.some(each => same(each, rule)))
  return { add: [...ssh, ...missing], remove }
}

/** Rules as they will be. */
export const plannedRules = (facts: FirewallFacts, { add, remove }: RulePlan): Rule[] => [
  ...rulesOf(facts).filter(rule => !remove.includes(rule)),
  ...add,
]

const isKept = (rule: Rule): boolean => /^kept: \S/.test(rule.comment) && rule.ports !== 'any'

/** How a person keeps a rule of his own: `check` then passes over it. */
const keepHint = "delete it, or say why it is there: ufw allow … comment 'kept: why'"

/** Whether the kernel's opening is one that the rule made. */
const madeBy = (rule: Rule, { family: f, proto, ports, source, iface }: Opening): boolean =>
  isOpening(rule) &&
  rule.family === f &&
  rule.ports === ports &&
  (rule.proto === 'any' || rule.proto === proto) &&
  rule.iface === iface &&
  rule.source.first === source.first &&
  rule.source.bits === source.bits

/** What the kernel lets in and nobody answers for. */
function openingFindings(facts: FirewallFacts, wanted: FirewallWanted, view: KernelView): Finding[] {
  const sources = mysqlSources(wanted)
  const rules = rulesOf(facts)
  const going = planRules(facts, wanted).remove
  return view.openings.flatMap(opening => {
    if (isStock(opening)) return []
    const rule = rules.find(each => madeBy(each, opening))
    if (rule === undefined && /^ufw6?-user-/.test(opening.chain)) return [] // UFW is loaded anew
    if (rule !== undefined && going.includes(rule)) return []
    const item = `firewall ${family(opening)}`
    const mysql = opensPort(opening, mysqlPort)
    if (mysql && !sources.some(source => contains(source, opening.source)))
      return [{ item, detail: `opens ${mysqlPort} to ${name(opening.source)}: ${opening.text}` }]
    const ssh = facts.sshPorts.some(port => opening.ports === String(port)) && opening.proto === 'tcp'
    if ((mysql && opening.ports !== 'any') || ssh || (rule !== undefined && isKept(rule))) return []
    return [
      {
        item,
        detail: `opens what nobody asked for: ${rule ? describeRule(rule) : opening.text}; ${keepHint}`,
      },
    ]
  })
}

/** What is in UFW's files and not in the kernel, or the other way round, so that it must be loaded anew. */
function loadChanges(facts: FirewallFacts, wanted: FirewallWanted, text: string, f: 4 | 6): Change[] {
  const view = readKernel(text, f)
  const sources = mysqlSources(wanted).filter(source => source.family === f)
  const loaded: Change[] = []
  const differs = (item: string, before: string | null, after: string) =>
    loaded.push({ item: `firewall ${item} IPv${f}`, before, after })
  if (view.policy !== 'DROP') differs('incoming', view.policy, 'DROP')
  if (!view.hasUfw) differs('rules', 'not loaded', 'loaded')
  else {
    const rules = rulesOf(facts).filter(rule => isOpening(rule) && rule.family === f)
    const openings = view.openings.filter(({ chain }) => /^ufw6?-user-input$/.test(chain))
    const absent = rules.filter(rule => !openings.some(opening => madeBy(rule, opening)))
    const extra = openings.filter(opening => !rules.some(rule => madeBy(rule, opening)))
    for (const rule of absent) differs('rule', 'not loaded', describeRule(rule))
    for (const opening of extra) differs('rule', opening.text, 'not there')
    const fault = blockFault(view.rules, sources)
    if (fault !== null) differs('limit', fault, 'loaded')
  }
  return loaded
}

/** The kernel's rules against UFW's files and against what is wanted; IPv6 only where the kernel speaks it. */
export function kernelState(
  facts: FirewallFacts,
  wanted: FirewallWanted,
): { changes: Change[]; findings: Finding[] } {
  const views: [string, 4 | 6][] = [[facts.kernel, 4]]
  if (facts.kernel6 !== null) views.push([facts.kernel6, 6])
  return {
    changes: views.flatMap(([text, f]) => loadChanges(facts, wanted, text, f)),
    findings: views.flatMap(([text, f]) => {
      const view = readKernel(text, f)
      return [
        ...openingFindings(facts, wanted, view),
        ...view.unknown.map(rule => ({
          item: `firewall IPv${f}`,
          detail: `a target that is not known: ${rule}`,
        })),
      ]
    }),
  }
}

/** Every change but those of file texts, which the effects compare byte by byte. */
export function firewallChanges(facts: FirewallFacts, wanted: FirewallWanted): Change[] {
  const { add, remove } = planRules(facts, wanted)
  return [
    ...remove.map(rule => ({ item: 'rule of the firewall', before: describeRule(rule), after: null })),
    ...add.map(rule => ({ item: 'rule of the firewall', before: null, after: describeRule(rule) })),
    ...(settingOf(facts.conf, 'ENABLED') === 'yes'
      ? []
      : [{ item: 'ufw', before: 'disabled', after: 'enabled' }]),
    ...(facts.unit === 'enabled' ? [] : [{ item: 'unit ufw.service', before: facts.unit, after: 'enabled' }]),
    ...kernelState(facts, wanted).changes,
  ]
}

export const firewallFindings = (facts: FirewallFacts, wanted: FirewallWanted): Finding[] => [
  ...kernelState(facts, wanted).findings,
  ...facts.rivals.map(unit => ({
    item: `unit ${unit}`,
    detail: `loads firewall rules of its own and can wipe out those of UFW: systemctl disable --now ${unit}`,
  })),
]

/** Everything that makes a firewall not the wanted one, as lines; empty when it is. For the judge of evidence. */
export function firewallFaults(facts: FirewallFacts, wanted: FirewallWanted): string[] {
  const settings = ufwDefaults.filter(([key, value]) => settingOf(facts.defaults, key) !== value)
  return [
    ...settings.map(
      ([key, value]) => `${key} is ${settingOf(facts.defaults, key) ?? 'not set'}, not '${value}'`,
    ),
    ...firewallChanges(facts, wanted).map(
      c => `${c.item}: ${c.before ?? 'missing'}, should be ${c.after ?? 'gone'}`,
    ),
    ...firewallFindings(facts, wanted).map(({ item, detail }) => `${item}: ${detail}`),
  ]
}
