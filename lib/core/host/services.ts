/** Units that a host of the release runs, as `systemctl` names them. */

export interface ServiceFacts {
  /** `enabled, active` by unit; `not-found, inactive` where there is none. */
  units: Record<string, string>
  /** Units that failed, whoever's they are. */
  failed: string[]
}

/** `one` of these must be enabled and run: names differ from distribution to distribution. */
export const services: readonly { what: string; one: readonly string[] }[] = [
  { what: 'the database', one: ['mysql.service', 'mysqld.service'] },
  { what: 'the firewall', one: ['ufw.service'] },
  { what: 'the jails', one: ['fail2ban.service'] },
  { what: 'the timer of the anchors', one: ['ztmysql-anchor.timer'] },
  { what: 'the log', one: ['rsyslog.service'] },
  { what: 'security upgrades', one: ['apt-daily-upgrade.timer'] },
]

export const serviceUnits: readonly string[] = services.flatMap(({ one }) => one)

const runs = (state: string | undefined): boolean => /^(?:enabled|static), active$/.test(state ?? '')

/** For the judge of evidence. */
export const serviceFaults = ({ units, failed }: ServiceFacts): string[] => [
  ...services
    .filter(({ one }) => !one.some(unit => runs(units[unit])))
    .map(({ what, one }) => `${what}: ${one[0]} is ${units[one[0] ?? ''] ?? 'not found'}`),
  ...failed.map(unit => `${unit} failed`),
]
