/** Security upgrades that come by themselves and leave the database alone, and the clock. Texts, and how apt reads them. */
import type { Change, Finding } from '../plan.ts'

export const aptPath = '/etc/apt/apt.conf.d/99ztmysql'
export const needrestartPath = '/etc/needrestart/conf.d/99-ztmysql.conf'

/** Regular expressions at the beginning of a package's name, as unattended-upgrades takes them. */
export const heldPackages = ['mysql-', 'libmysqlclient', 'mysql-community-', 'mysql-commercial-'] as const

/** What apt must come to, whatever its other files say. */
export const aptSettings: readonly [name: string, value: string, why: string][] = [
  ['APT::Periodic::Enable', '1', 'the timers of apt do their work'],
  ['APT::Periodic::Update-Package-Lists', '1', 'every day'],
  ['APT::Periodic::Unattended-Upgrade', '1', 'every day'],
  ['Unattended-Upgrade::Automatic-Reboot', 'false', 'a reboot is announced by a person'],
]

/**
 * Lists of apt are added to. The name of the file puts it behind the distribution's. The security archives of Debian and
 * of Ubuntu stand both here: the one that is not there matches nothing.
 */
export const aptText = `// made by vm_oneclick, which writes it anew
${aptSettings.map(([name, value, why]) => `${name} "${value}"; // ${why}`).join('\n')}
Unattended-Upgrade::Origins-Pattern {
  "origin=Debian,codename=\${distro_codename},label=Debian-Security";
  "origin=Debian,codename=\${distro_codename}-security,label=Debian-Security";
  "origin=Ubuntu,archive=\${distro_codename}-security";
};
// a new mysqld restarts the database: a person announces it, and the trail has it as an event
Unattended-Upgrade::Package-Blacklist {
${heldPackages.map(name => `  "${name}";`).join('\n')}
};
`

/** Libraries that were upgraded under mysqld are taken up at its next announced restart, not at night. */
export const needrestartText = `# made by vm_oneclick, which writes it anew
$nrconf{override_rc}{qr(^mysql)} = 0;
1;
`

/** Units whose timers start the upgrades. */
export const upgradeTimers = ['apt-daily.timer', 'apt-daily-upgrade.timer'] as const

/** Services that keep the clock; one of them must run. */
export const timeServices = [
  'systemd-timesyncd.service',
  'chrony.service',
  'ntpsec.service',
  'openntpd.service',
  'ntp.service',
] as const

export interface UpdateFacts {
  /** As `apt-config dump` prints. */
  apt: string
  /** Whether unattended-upgrades is installed. */
  installed: boolean
  /** needrestart's file; null: none there. */
  needrestart: string | null
  /** `enabled, active` for each timer. */
  timers: Record<string, string>
  /** The services that keep the clock and run. */
  clocks: string[]
  /** In a container the clock is the machine's around it. */
  container: string | null
}

/** The last value of NAME, and the members of the list NAME::. */
export const aptValue = (dump: string, name: string): string | undefined =>
  [...dump.matchAll(/^(\S+) "(.*)";$/gm)].filter(([, key]) => key === name).at(-1)?.[2]
const aptList = (dump: string, name: string): string[] =>
  [...dump.matchAll(/^(\S+) "(.*)";$/gm)]
    .filter(([, key]) => key === `${name}::`)
    .map(([, , value]) => value ?? '')

const running = 'enabled, active'

/** What differs besides the files, and what they come to once another file is read after them. */
export function updateChanges(facts: UpdateFacts): Change[] {
  const timers = upgradeTimers.filter(unit => facts.timers[unit] !== running)
  return [
    ...timers.map(unit => ({
      item: `unit ${unit}`,
      before: facts.timers[unit] ?? 'not-found',
      after: running,
    })),
    ...(facts.clocks.length > 0 || facts.container !== null
      ? []
      : [{ item: `unit ${timeServices[0]}`, before: 'inactive', after: running }]),
  ]
}

/** Only once our file is there: then another one says otherwise. */
export function updateFindings({ apt }: UpdateFacts): Finding[] {
  const other = 'another file in /etc/apt/apt.conf.d says so'
  const settings = aptSettings.filter(([name, value]) => aptValue(apt, name) !== value)
  const held = aptList(apt, 'Unattended-Upgrade::Package-Blacklist')
  const missing = heldPackages.filter(name => !held.includes(name))
  return [
    ...settings.map(([name, value]) => ({
      item: `apt ${name}`,
      detail: `is ${aptValue(apt, name) ?? 'not set'}, should be ${value}: ${other}`,
    })),
    ...missing.map(name => ({
      item: 'apt Unattended-Upgrade::Package-Blacklist',
      detail: `has no ${name}, so that the database may be restarted at night: ${other}`,
    })),
  ]
}

/** For the judge of evidence. */
export const updateFaults = (facts: UpdateFacts): string[] => [
  ...(facts.installed ? [] : ['unattended-upgrades is not installed']),
  ...(facts.needrestart === needrestartText
    ? []
    : [`${needrestartPath} ${facts.needrestart === null ? 'is missing' : 'was changed'}`]),
  ...updateChanges(facts).map(
    ({ item, before, after }) => `${item}: ${before ?? 'missing'}, should be ${after}`,
  ),
  ...updateFindings(facts).map(({ item, detail }) => `${item} ${detail}`),
]
