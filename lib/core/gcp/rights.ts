/** What a role lets its holder do, as far as a promise asks. A custom role is what its permissions say. */
import type { Binding, Policy } from './observed.ts'

/**
 * `use`: opens what a key wrapped. `rule`: gives himself such a right, or destroys versions. `impersonate`: acts as a
 * service account, by its tokens, its keys or a machine that runs as it.
 */
export type Right = 'use' | 'rule' | 'impersonate'

const predefined: Record<Right, RegExp> = {
  use: /^roles\/cloudkms\.(?:cryptoKey(?:Encrypter|Decrypter|EncrypterDecrypter)(?:ViaDelegation)?|cryptoOperator)$/,
  rule: /^roles\/(?:owner|cloudkms\.admin|iam\.(?:securityAdmin|roleAdmin|organizationRoleAdmin)|resourcemanager\.(?:projectIamAdmin|folderAdmin|folderIamAdmin|organizationAdmin))$/,
  impersonate:
    /^roles\/(?:editor|iam\.(?:serviceAccount(?:TokenCreator|KeyAdmin|User|Admin)|workloadIdentityUser))$/,
}

const permissions: Record<Right, RegExp> = {
  use: /^cloudkms\.cryptoKeyVersions\.useTo(?:Encrypt|Decrypt)(?:ViaDelegation)?$/,
  rule: /^(?:cloudkms\.(?:cryptoKeys|keyRings)|resourcemanager\.(?:projects|folders|organizations))\.setIamPolicy$|^cloudkms\.cryptoKeyVersions\.(?:destroy|update)$|^iam\.roles\.update$/,
  impersonate:
    /^iam\.(?:serviceAccounts\.(?:getAccessToken|implicitDelegation|signBlob|signJwt|actAs|setIamPolicy)|serviceAccountKeys\.create)$/,
}

/** Name of a custom role → its permissions; null: not ours to see. */
export type CustomRoles = Record<string, string[] | null>

export const isCustom = (role: string): boolean => /^(?:projects|organizations)\/[^/]+\/roles\//.test(role)

/** undefined: nobody can tell, since the role's permissions were not seen. */
function allows(role: string, right: Right, roles: CustomRoles): boolean | undefined {
  if (!isCustom(role)) return predefined[right].test(role)
  const own = Object.hasOwn(roles, role) ? roles[role] : null
  return own == null ? undefined : own.some(permission => permissions[right].test(permission))
}

export interface Holder {
  member: string
  role: string
  /** The role's permissions were not seen: it may hold the right. */
  unseen: boolean
}

/** Who holds a right by a policy, conditions left out of account: a condition can be changed like a binding. */
export const holders = (policy: Policy | null, right: Right, roles: CustomRoles): Holder[] =>
  (policy?.bindings ?? []).flatMap(({ role, members }: Binding) => {
    const allowed = allows(role, right, roles)
    return allowed === false ? [] : members.map(member => ({ member, role, unseen: allowed === undefined }))
  })

export const says = ({ member, role, unseen }: Holder, resource: string): string =>
  `${member} has ${role} on ${resource}${unseen ? ', whose permissions were not seen' : ''}`

export const anybody = ['allUsers', 'allAuthenticatedUsers']

/** Google's own agents act in every project and answer to Google. */
const agent = /@(?:cloudservices|gcp-sa-[a-z0-9-]+\.iam)\.gserviceaccount\.com$/

/** A person answers for what he does; a machine does what whoever took it wants. */
export const isMachine = (member: string): boolean =>
  anybody.includes(member) || (/^(?:serviceAccount:|principal)/.test(member) && !agent.test(member))
