/** UFW: nothing comes in but SSH, and MySQL from the networks that it is open to. Observed in the kernel, not by UFW's word. */
import { existsSync, lstatSync, readFileSync } from 'node:fs'
import { reason, ZtError } from '../../core/errors.ts'
import { formatCidr } from '../../core/host/cidr.ts'
import {
  type FirewallFacts,
  type FirewallWanted,
  mysqlSources,
  plannedRules,
  planRules,
  settingOf,
  ufwDefaults,
} from '../../core/host/firewall.ts'
import { readKernel } from '../../core/host/firewall_kernel.ts'
import { letsIn } from '../../core/host/firewall_rules.ts'
import { firewallChanges, firewallFindings } from '../../core/host/firewall_state.ts'
import { withBlock, withValue } from '../../core/host/firewall_text.ts'
import type { Step } from '../../core/plan.ts'
import { fileChange, type OwnedFile, putFile, snapshotFiles } from '../owned_files.ts'
import { isInstalled } from '../shell.ts'
import { sshConnection, sshPorts } from './firewall_ssh.ts'
import type { Host, Layer } from './steps.ts'
import { ask, must, unitState } from './system.ts'

const paths = {
  conf: '/etc/ufw/ufw.conf',
  defaults: '/etc/default/ufw',
  before: '/etc/ufw/before.rules',
  before6: '/etc/ufw/before6.rules',
  user: '/etc/ufw/user.rules',
  user6: '/etc/ufw/user6.rules',
} as const

const rivals = ['nftables.service', 'firewalld.service', 'netfilter-persistent.service', 'iptables.service']

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

async function kernelRules(tool: 'iptables' | 'ip6tables'): Promise<string> {
  return isInstalled(tool) ? must(tool, '-S') : '' // without it there is no UFW either
}

async function enabledRivals(): Promise<string[]> {
  const states = await Promise.all(rivals.map(async unit => ({ unit, state: await unitState(unit) })))
  return states.flatMap(({ unit, state }) =>
    state.enabled === 'enabled' || state.active === 'active' ? [unit] : [],
  )
}

export async function observeFirewall(): Promise<FirewallFacts> {
  return {
    conf: read(paths.conf),
    defaults: read(paths.defaults),
    user: read(paths.user),
    user6: read(paths.user6),
    kernel: await kernelRules('iptables'),
    kernel6: existsSync('/proc/net/if_inet6') ? await kernelRules('ip6tables') : null,
    sshPorts: await sshPorts(),
    unit: (await unitState('ufw.service')).enabled,
    rivals: await enabledRivals(),
  }
}

function ownedText(path: string, bytes: string, mode: number): OwnedFile {
  const { uid, gid, mode: has } = lstatSync(path, { throwIfNoEntry: false }) ?? { uid: 0, gid: 0, mode }
  return { path, bytes, mode: has & 0o7777, uid, gid }
}

/** The texts of UFW's files as they shall be, made from those that are there. */
function wantedFiles(facts: FirewallFacts, wanted: FirewallWanted): OwnedFile[] {
  const sources = mysqlSources(wanted)
  const defaults = ufwDefaults
    .filter(([name, value]) => settingOf(facts.defaults, name) !== value)
    .reduce((text, [name, value]) => withValue(text, name, value), facts.defaults)
  const of = (family: 4 | 6) => sources.filter(source => source.family === family)
  return [
    ownedText(paths.defaults, defaults, 0o644),
    ownedText(paths.before, withBlock(read(paths.before), of(4)), 0o640),
    ownedText(paths.before6, withBlock(read(paths.before6), of(6)), 0o640),
  ].filter(({ bytes }) => bytes !== '') // the package brings them
}

/** @throws REFUSED if the rules to be would not let in the SSH connection that this runs over */
function refuseToCutSsh(facts: FirewallFacts, wanted: FirewallWanted): void {
  const ssh = sshConnection()
  if (ssh === null || formatCidr(ssh.client) === '::1' || formatCidr(ssh.client).startsWith('127.')) return
  const { client, port, iface } = ssh
  const rules = plannedRules(facts, planRules(facts, wanted)).filter(rule => rule.family === client.family)
  if (letsIn(rules, { source: client, port, iface })) return
  const from = formatCidr(client)
  throw new ZtError('REFUSED', `the firewall would cut this SSH connection: ${from} to port ${port}`, {
    hint: `open it first: ufw allow proto tcp from ${from} to any port ${port} comment 'kept: SSH'`,
  })
}

/** One step, since its parts are safe in one order only: rules first, then what refuses all the rest. */
function firewallStep({ journal, wanted }: Host, facts: FirewallFacts): Step {
  refuseToCutSsh(facts, wanted)
  const files = wantedFiles(facts, wanted)
  return {
    id: 'firewall',
    description: 'UFW: refuse what comes in, but SSH and MySQL from its networks',
    changes: [...files.flatMap(fileChange), ...firewallChanges(facts, wanted)],
    apply: async () => {
      // outside what is taken back: nothing was changed yet, and loading the old files would open everything
      if (settingOf(facts.conf, 'ENABLED') === 'yes') await refuseBadFiles(facts)
      for (const path of Object.values(paths)) journal.keepFile(path)
      const before = await unitState('ufw.service')
      journal.keep({ kind: 'unit', name: 'ufw.service', before })
      const restore = snapshotFiles(Object.values(paths).map(path => ownedText(path, '', 0o640)))
      try {
        await bring(facts, wanted, files)
        await seeThatItHolds(wanted)
      } catch (thrown) {
        restore()
        await loadOld(facts, thrown)
        restore() // where the load fails, UFW writes that it is disabled
        throw thrown
      }
    },
  }
}

/** Loads what was there before. @throws IO with both reasons where UFW does not take that either */
async function loadOld({ conf }: FirewallFacts, thrown: unknown): Promise<void> {
  const verb = settingOf(conf, 'ENABLED') === 'yes' ? ['reload'] : ['--force', 'disable']
  const { exitCode, stdout, stderr } = await ask('ufw', ...verb)
  if (exitCode === 0) return
  throw new ZtError('IO', `${reason(thrown)}; and with the old files back: ${stdout}${stderr}`.trim(), {
    hint: 'the firewall may be open now: see ufw status, and the files in /etc/ufw that it complains about',
    cause: thrown,
  })
}

/**
 * Has the kernel read every file of rules without taking it up: `ufw reload` first opens everything, and stops there at a
 * file that is no good, whoever wrote it. Only where UFW is active are the chains there that the files speak of.
 */
async function refuseBadFiles({ kernel, kernel6 }: FirewallFacts): Promise<void> {
  const read = async (tool: string, suffix: string): Promise<void> => {
    for (const name of ['before', 'after', 'user'])
      await must(tool, '-n', '--test', `/etc/ufw/${name}${suffix}.rules`)
  }
  if (readKernel(kernel, 4).hasUfw) await read('iptables-restore', '')
  if (readKernel(kernel6 ?? '', 6).hasUfw) await read('ip6tables-restore', '6')
}

async function bring(facts: FirewallFacts, wanted: FirewallWanted, files: OwnedFile[]): Promise<void> {
  const active = settingOf(facts.conf, 'ENABLED') === 'yes'
  const { add, remove } = planRules(facts, wanted)
  if (settingOf(facts.defaults, 'IPV6') !== 'yes') {
    // UFW takes no rule for IPv6 before, neither in its files nor in the kernel
    putFile(ownedText(paths.defaults, withValue(facts.defaults, 'IPV6', 'yes'), 0o644))
    if (active) await must('ufw', 'reload')
  }
  for (const { ports, proto, source, family, comment } of add) {
    const from = source.bits === 0 ? (family === 4 ? '0.0.0.0/0' : '::/0') : formatCidr(source)
    await must('ufw', 'allow', 'proto', proto, 'from', from, 'to', 'any', 'port', ports, 'comment', comment)
  }
  for (const { command } of remove) await must('ufw', '--force', 'delete', ...command)
  for (const file of files.filter(each => fileChange(each).length > 0)) putFile(file)
  if (active) await refuseBadFiles(facts)
  await must('systemctl', 'enable', 'ufw.service')
  await (active ? must('ufw', 'reload') : must('ufw', '--force', 'enable'))
}

/** @throws IO where the kernel does not hold what was asked for: UFW says yes to more than that */
async function seeThatItHolds(wanted: FirewallWanted): Promise<void> {
  const [first] = firewallChanges(await observeFirewall(), wanted)
  if (first === undefined) return
  throw new ZtError('IO', `the firewall did not take it: ${first.item}: ${first.before ?? 'missing'}`, {
    hint: 'see: ufw status verbose; iptables -S; ip6tables -S',
  })
}

export async function firewallLayer(host: Host): Promise<Layer> {
  const facts = await observeFirewall()
  return { steps: [firewallStep(host, facts)], findings: firewallFindings(facts, host.wanted) }
}
