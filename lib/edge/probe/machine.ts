/** What the machine around the database says of itself: firewall, jails, kernel, upgrades, services. Raw, for the judge. */
import { existsSync, readFileSync } from 'node:fs'
import type { Json } from '../../core/controls/control.ts'
import { hostRecordPath, parseHostRecord } from '../../core/host/record.ts'
import { serviceUnits } from '../../core/host/services.ts'
import { observeFail2ban } from '../host/fail2ban.ts'
import { observeFirewall } from '../host/firewall.ts'
import { sshPorts } from '../host/firewall_ssh.ts'
import { observeKernel } from '../host/kernel.ts'
import { must, unitState } from '../host/system.ts'
import { observeUpdates } from '../host/updates.ts'
import { notApplicable, type Probe } from './probe.ts'

const onHost = (): string => 'root on the host'

/** Without the record of the host installer this machine is not one whose firewall and units are ours to judge. */
function ofHost(id: string, command: string, run: () => Promise<unknown>): Probe {
  return {
    id,
    grade: 'host',
    identity: onHost,
    command: () => command,
    run: async () =>
      existsSync(hostRecordPath)
        ? ((await run()) as Json)
        : notApplicable('this machine was not set up as a host by vm_oneclick'),
  }
}

async function observeServices() {
  const units = await Promise.all(
    serviceUnits.map(async unit => {
      const { enabled, active } = await unitState(unit)
      return [unit, `${enabled}, ${active}`] as const
    }),
  )
  const failed = await must('systemctl', 'list-units', '--failed', '--plain', '--no-legend')
  return {
    units: Object.fromEntries(units),
    failed: failed.split('\n').flatMap(line => line.trim().split(/\s+/)[0] || []),
  }
}

export const machineProbes: Probe[] = [
  ofHost('firewall', 'iptables -S; ip6tables -S; cat /etc/ufw/*.rules', async () => {
    const { allowRemote, allowedCidr } = parseHostRecord(readFileSync(hostRecordPath), hostRecordPath)
    return { wanted: { allowRemote, allowedCidr }, facts: await observeFirewall() }
  }),
  ofHost('intrusion', 'fail2ban-client status; fail2ban-client get JAIL …', async () => ({
    sshPorts: await sshPorts(),
    facts: await observeFail2ban(),
  })),
  ofHost('kernel', 'sysctl NAME…', observeKernel),
  ofHost('updates', 'apt-config dump; systemctl is-active apt-daily-upgrade.timer …', observeUpdates),
  ofHost('services', 'systemctl is-enabled, is-active UNIT…; systemctl --failed', observeServices),
]
