/** What a host says of itself, judged anew by the rules that its installer goes by: never by a word of the probe's. */
import { z } from 'zod'
import type { HostJudgement, Json } from '../controls/control.ts'
import { type FactProbe, factProbes } from '../controls/host_facts.ts'
import { reason } from '../errors.ts'
import { type Fail2banFacts, fail2banFaults } from '../host/fail2ban.ts'
import type { FirewallFacts, FirewallWanted } from '../host/firewall.ts'
import { firewallFaults } from '../host/firewall_state.ts'
import { type KernelFacts, kernelFaults, kernelValues } from '../host/kernel.ts'
import { type ServiceFacts, serviceFaults } from '../host/services.ts'
import { type UpdateFacts, updateFaults } from '../host/updates.ts'
import { fail, firstIssue, type Outcome, pass } from './outcome.ts'
import { probeFaults } from './server_facts.ts'

const few = (faults: string[]): string =>
  faults.slice(0, 3).join('; ') + (faults.length > 3 ? `; and ${faults.length - 3} more` : '')

/** A result of another shape than the probe makes is a failure: whoever wrote it hides something. */
function judged<T>(schema: z.ZodType<T>, faultsOf: (value: T) => string[], good: (value: T) => string) {
  return (result: Json): Outcome => {
    const parsed = schema.safeParse(result)
    if (!parsed.success)
      return fail(`the observation has another shape than its probe makes: ${firstIssue(parsed.error)}`)
    try {
      const faults = faultsOf(parsed.data)
      return faults.length === 0 ? pass(good(parsed.data)) : fail(few(faults))
    } catch (thrown) {
      return fail(reason(thrown))
    }
  }
}

const wanted: z.ZodType<FirewallWanted> = z.strictObject({
  allowRemote: z.boolean(),
  allowedCidr: z.array(z.string()),
})

const port = z.int().min(1).max(65_535)

const firewallFacts: z.ZodType<FirewallFacts> = z.strictObject({
  conf: z.string(),
  defaults: z.string(),
  user: z.string(),
  user6: z.string(),
  kernel: z.string(),
  kernel6: z.string().nullable(),
  sshPorts: z.array(port),
  unit: z.string(),
  rivals: z.array(z.string()),
})

const jail = z.strictObject({
  maxretry: z.string(),
  findtime: z.string(),
  bantime: z.string(),
  ignoreip: z.array(z.string()),
  actions: z.array(z.string()),
  port: z.string(),
  expressions: z.number(),
  expressionsInFiles: z.number(),
  watches: z.string(),
})

const fail2banFacts: z.ZodType<Fail2banFacts> = z.strictObject({
  unit: z.strictObject({ enabled: z.string(), active: z.string() }),
  jails: z.record(z.string(), jail),
  names: z.array(z.string()),
})

const kernelFacts: z.ZodType<KernelFacts> = z.strictObject({
  values: z.record(z.string(), z.string().nullable()),
  fixed: z.array(z.string()),
  container: z.string().nullable(),
})

const updateFacts: z.ZodType<UpdateFacts> = z.strictObject({
  apt: z.string(),
  installed: z.boolean(),
  needrestart: z.string().nullable(),
  timers: z.record(z.string(), z.string()),
  clocks: z.array(z.string()),
  container: z.string().nullable(),
})

const serviceFacts: z.ZodType<ServiceFacts> = z.strictObject({
  units: z.record(z.string(), z.string()),
  failed: z.array(z.string()),
})

/** A value that the probe left out was not seen; one that the kernel does not have, it says. */
const unseen = ({ values }: KernelFacts): string[] =>
  kernelValues.flatMap(({ name }) => (Object.hasOwn(values, name) ? [] : [`kernel ${name}: not observed`]))

const open = ({ allowRemote, allowedCidr }: FirewallWanted): string =>
  allowRemote ? `MySQL is open to ${allowedCidr.join(', ')}` : 'MySQL is open to nobody'

/** In a container the kernel is another machine's: what cannot be set there is nobody's fault, and no pass either. */
function judgeKernel(result: Json): Outcome {
  const outcome = judged(
    kernelFacts,
    facts => [...unseen(facts), ...kernelFaults(facts)],
    ({ values }) => `${Object.values(values).filter(value => value !== null).length} values`,
  )(result)
  const facts = kernelFacts.safeParse(result).data
  if (outcome.status !== 'pass' || facts === undefined || facts.container === null) return outcome
  const [first, ...rest] = kernelFaults({ ...facts, container: null })
  if (first === undefined) return outcome
  const more = rest.length === 0 ? '' : `; and ${rest.length} more`
  return { status: 'not-applicable', reason: `the kernel is not this container's: ${first}${more}` }
}

const answered =
  (probe: FactProbe) =>
  (result: Json): Outcome => {
    const faults = probeFaults(probe, result)
    return faults.length === 0 ? pass(`${factProbes[probe].length} questions answered`) : fail(few(faults))
  }

export const hostJudgements: Record<HostJudgement, (result: Json) => Outcome> = {
  firewall: judged(
    z.strictObject({ wanted, facts: firewallFacts }),
    ({ facts, wanted: w }) => firewallFaults(facts, w),
    ({ facts, wanted: w }) => `SSH is open at ${facts.sshPorts.join(', ') || 'no port'}; ${open(w)}`,
  ),
  intrusion: judged(
    z.strictObject({ sshPorts: z.array(port), facts: fail2banFacts }),
    ({ facts, sshPorts }) => fail2banFaults(facts, sshPorts),
    ({ facts }) => `jails ${facts.names.join(', ')}`,
  ),
  kernel: judgeKernel,
  updates: judged(
    updateFacts,
    updateFaults,
    ({ clocks }) => clocks.join(', ') || 'the clock is the machine’s around it',
  ),
  services: judged(
    serviceFacts,
    serviceFaults,
    ({ units }) => `${Object.keys(units).length} units looked at`,
  ),
  files: answered('files'),
  process: answered('process'),
  databases: answered('databases'),
}
