/** What the firewall of a database host shall be, and which rules of UFW come and go for it. */
import { type Cidr, everybody, formatCidr, parseCidr } from './cidr.ts'
import { hasPort, isOpening, openRule, parseRules, type Rule } from './firewall_rules.ts'
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

export const sameRule = (a: Rule, b: Rule): boolean =>
  a.family === b.family &&
  a.action === b.action &&
  a.proto === b.proto &&
  a.ports === b.ports &&
  a.iface === b.iface &&
  a.narrowed === b.narrowed &&
  a.source.first === b.source.first &&
  a.source.bits === b.source.bits

const names = (rule: Rule, port: number): boolean =>
  isOpening(rule) && rule.proto !== 'udp' && rule.ports !== 'any' && hasPort(rule.ports, port)

/**
 * SSH is opened to everybody, unless a rule of the administrator's opens its port to somebody: his narrower one stays as
 * it is. It is not limited here: what fails is fail2ban's and sshd's own matter, and six connections in half a minute
 * are a deployment as often as an attack.
 */
function sshRules(rules: Rule[], { sshPorts, kernel6 }: FirewallFacts): Rule[] {
  const families: (4 | 6)[] = kernel6 === null ? [4] : [4, 6]
  return sshPorts.flatMap(port => {
    const opened = rules.filter(rule => names(rule, port))
    if (opened.some(({ source, iface, narrowed }) => source.bits > 0 || iface !== null || narrowed)) return []
    return families
      .filter(each => !opened.some(rule => rule.family === each))
      .map(each => openRule(port, everybody(each), 'ztmysql: SSH'))
  })
}

/** Rules for MySQL's port alone are this program's, and those not wanted go. */
export function planRules(facts: FirewallFacts, wanted: FirewallWanted): RulePlan {
  const rules = rulesOf(facts)
  const mysql = mysqlSources(wanted).map(source => openRule(mysqlPort, source, 'ztmysql: MySQL'))
  const missing = mysql.filter(rule => !rules.some(each => sameRule(each, rule)))
  return { add: [...sshRules(rules, facts), ...missing], remove: rules.filter(rule => goes(rule, mysql)) }
}

const goes = (rule: Rule, mysql: Rule[]): boolean =>
  isOpening(rule) && rule.ports === String(mysqlPort) && !mysql.some(each => sameRule(each, rule))

/** Rules as they will be. */
export const plannedRules = (facts: FirewallFacts, { add, remove }: RulePlan): Rule[] => [
  ...rulesOf(facts).filter(rule => !remove.some(each => sameRule(each, rule))),
  ...add,
]
