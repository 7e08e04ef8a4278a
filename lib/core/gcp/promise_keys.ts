/** Promises about keys: where they live, how they rotate, and who may use them, at every level that a key inherits from. */
import type { Inherited, Seen } from './evidence.ts'
import { all, keysOf, type Promised, type Verdict } from './promise.ts'
import { holders, isMachine, says } from './rights.ts'
import { clientAccountId, emailOf, hostAccountId } from './settings.ts'

/** Where there is no key, nothing holds for each. */
const ofKeys =
  (judge: Promised['judge']): Promised['judge'] =>
  (seen, attest) =>
    seen.settings.tenants.length === 0 ? [false, 'there is no key of any tenant'] : judge(seen, attest)

function inHsm(seen: Seen): Verdict {
  const pairs = keysOf(seen)
  return all(
    pairs.flatMap(([tenant, key]) => {
      if (key === undefined) return [`${tenant}: no key`]
      const levels = [key.versionTemplate.protectionLevel, key.primary?.protectionLevel]
      if (levels.some(level => level !== 'HSM')) return [`${tenant}: ${levels.join(', ')}`]
      return key.primary?.state === 'ENABLED'
        ? []
        : [`${tenant}: its primary version is ${key.primary?.state}`]
    }),
    `${pairs.length} keys`,
  )
}

const attested: Promised['judge'] = (seen, attest) => {
  if (attest === undefined) return [undefined, 'no roots were given to check the HSM’s attestations against']
  const met = new Map<string, string>()
  const broken = keysOf(seen).flatMap(([tenant, key]) => {
    if (key === undefined) return [`${tenant}: no key`]
    const attestation = Object.hasOwn(seen.attestations, key.name) ? seen.attestations[key.name] : null
    const said = attest(attestation ?? null, seen.at)
    if (said !== 'verified') return [`${tenant}: ${said}`]
    const other = met.get(attestation?.content ?? '')
    met.set(attestation?.content ?? '', tenant)
    return other === undefined ? [] : [`${tenant}: shows the attestation of ${other}`]
  })
  return all(broken, 'both chains end in the roots given')
}

function rotates(seen: Seen): Verdict {
  return all(
    keysOf(seen).flatMap(([tenant, key]) => {
      const days = Number((key?.rotationPeriod ?? '0s').replace(/s$/, '')) / 86_400
      if (!(days > 0)) return [`${tenant}: never`]
      if (days > seen.settings.rotationDays) return [`${tenant}: every ${days} days`]
      return Date.parse(key?.nextRotationTime ?? '') > seen.at
        ? []
        : [`${tenant}: the next rotation is overdue`]
    }),
    `every ${seen.settings.rotationDays} days or sooner`,
  )
}

const unseen = (parents: Inherited[]): string[] =>
  parents.filter(({ policy }) => policy === null).map(({ resource }) => `${resource}: not seen`)

/** Nobody but the tenant's client uses its key; other tenants' clients are named like anybody else. */
function tenantAlone(seen: Seen): Verdict {
  const above = seen.keyParents.flatMap(({ resource, policy }) =>
    holders(policy, 'use', seen.roles).map(holder => says(holder, resource)),
  )
  const on = keysOf(seen).flatMap(([tenant, key]) => {
    const own = `serviceAccount:${emailOf(clientAccountId(tenant), seen.settings.project)}`
    const found = holders(key?.policy ?? null, 'use', seen.roles)
    const others = found.filter(({ member }) => member !== own)
    const lost =
      key !== undefined && others.length === found.length ? [`${tenant}: its client cannot use its key`] : []
    return [...others.map(holder => says(holder, `the key of ${tenant}`)), ...lost]
  })
  return all([...unseen(seen.keyParents), ...above, ...on], 'each key is used by its own client alone')
}

function hostHasNoKey(seen: Seen): Verdict {
  const host = `serviceAccount:${emailOf(hostAccountId, seen.settings.project)}`
  const places = [...seen.keyParents, ...seen.keys.map(({ name, policy }) => ({ resource: name, policy }))]
  return all(
    places.flatMap(({ resource, policy }) => [
      ...(policy?.bindings ?? [])
        .filter(({ role, members }) => members.includes(host) && /cloudkms/.test(role))
        .map(({ role }) => `it has ${role} on ${resource}`),
      ...(['rule', 'use'] as const).flatMap(right =>
        holders(policy, right, seen.roles)
          .filter(({ member, role }) => member === host && !/cloudkms/.test(role))
          .map(({ role }) => `it has ${role} on ${resource}`),
      ),
    ]),
    'the database host has no right on any key',
  )
}

/** Who can give himself a right: people are named, for somebody always can; a machine breaks the promise. */
function fewAdministrators(seen: Seen): Verdict {
  const places = [...seen.keyParents, ...seen.keys.map(({ name, policy }) => ({ resource: name, policy }))]
  const found = places.flatMap(({ resource, policy }) =>
    holders(policy, 'rule', seen.roles).map(holder => ({
      member: holder.member,
      text: says(holder, resource),
    })),
  )
  const machines = found.filter(({ member }) => isMachine(member)).map(({ text }) => text)
  const people = found.map(({ text }) => text).join('; ')
  return machines.length > 0
    ? [false, machines.join('; ')]
    : [true, people || 'nobody that this account can see']
}

/** Whoever acts as a tenant's client has its key. Workload identity on the account itself is how a client logs in. */
function unborrowed(seen: Seen): Verdict {
  const clients = seen.settings.tenants.map(tenant => emailOf(clientAccountId(tenant), seen.settings.project))
  const missing = clients
    .filter(email => seen.accounts.find(each => each.email === email)?.policy == null)
    .map(email => `${email}: not seen`)
  const above = seen.keyParents.filter(({ resource }) => !resource.startsWith('key ring '))
  const own = seen.accounts
    .filter(({ email }) => clients.includes(email))
    .map(({ email, policy }) => ({ resource: email, policy }))
  const found = [...above, ...own].flatMap(({ resource, policy }) =>
    holders(policy, 'impersonate', seen.roles)
      .filter(({ role }) => role !== 'roles/iam.workloadIdentityUser' || !clients.includes(resource))
      .map(holder => ({ member: holder.member, text: says(holder, resource) })),
  )
  const machines = found.filter(({ member }) => isMachine(member)).map(({ text }) => text)
  const people = found.map(({ text }) => text).join('; ')
  return all([...missing, ...machines], people || 'nobody acts as a tenant’s client')
}

export const keyPromises: Promised[] = [
  { id: 'google.hsm', promise: "each tenant's key lives in an HSM and is enabled", judge: ofKeys(inHsm) },
  {
    id: 'google.attested',
    promise: "the HSM's attestation of each key verifies to the manufacturer's and Google's roots",
    judge: ofKeys(attested),
  },
  { id: 'google.rotation', promise: 'each key rotates', judge: ofKeys(rotates) },
  {
    id: 'google.tenant-alone',
    promise: "nobody but a tenant's client uses its key, at any level",
    judge: ofKeys(tenantAlone),
  },
  {
    id: 'google.unborrowed',
    promise: "no machine can act as a tenant's client",
    judge: ofKeys(unborrowed),
  },
  { id: 'google.host-keyless', promise: 'the database host has no right on a key', judge: hostHasNoKey },
  {
    id: 'google.administrators',
    promise: 'no machine can give itself a right on a key',
    judge: fewAdministrators,
  },
]
