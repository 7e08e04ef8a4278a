/** What the kernel lets in against UFW's files and against what is wanted: what loading anew puts right, and what not. */
import type { Change, Finding } from '../plan.ts'
import { type Cidr, contains, formatCidr } from './cidr.ts'
import {
  describeRule,
  type FirewallFacts,
  type FirewallWanted,
  mysqlPort,
  mysqlSources,
  planRules,
  rulesOf,
  sameRule,
  settingOf,
  ufwDefaults,
} from './firewall.ts'
import { isStock, type KernelView, type Opening, opensPort, readKernel } from './firewall_kernel.ts'
import { isOpening, type Rule } from './firewall_rules.ts'
import { blockFault } from './firewall_text.ts'

const name = (source: Cidr): string => (source.bits === 0 ? 'anywhere' : formatCidr(source))
const family = (rule: { family: 4 | 6 }): string => `IPv${rule.family}`

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

/** In a chain that UFW makes itself, from its rules and its settings. */
const isGenerated = ({ chain }: Opening): boolean =>
  /^ufw6?-(?:user-input|skip-to-policy-input|track-input)$/.test(chain)

/** What the kernel lets in and nobody answers for. */
function openingFindings(facts: FirewallFacts, wanted: FirewallWanted, view: KernelView): Finding[] {
  const sources = mysqlSources(wanted)
  const rules = rulesOf(facts)
  const going = planRules(facts, wanted).remove
  return view.openings.flatMap(opening => {
    if (isStock(opening)) return []
    const rule = rules.find(each => madeBy(each, opening))
    if (rule === undefined && isGenerated(opening)) return [] // it goes when UFW is loaded anew
    if (rule !== undefined && going.some(each => sameRule(each, rule))) return []
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
    const openings = view.openings.filter(isGenerated)
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
