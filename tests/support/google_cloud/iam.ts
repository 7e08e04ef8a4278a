import type { Route } from './server.ts'
import { alreadyExists, notFound, permit, permitIn, policyOf, projectOf } from './state.ts'

const service = 'iam.googleapis.com'

export const iamRoutes: Route[] = [
  [
    'POST',
    /^\/v1\/permissions:queryTestablePermissions$/,
    () => ({
      permissions: ['storage.objects.create', 'storage.objects.get'].map(name => ({
        name,
        stage: 'GA',
        customRolesSupportLevel: 'SUPPORTED',
      })),
    }),
  ],
  [
    'GET',
    /^\/v1\/projects\/([^/]+)\/serviceAccounts$/,
    ({ cloud, path }) => {
      const project = permitIn(cloud, 'iam.serviceAccounts.list', path[0] ?? '', service)
      return {
        accounts: project.accounts.map(each => ({
          ...each,
          name: `projects/${project.id}/serviceAccounts/${each.email}`,
        })),
      }
    },
  ],
  [
    'POST',
    /^\/v1\/projects\/([^/]+)\/serviceAccounts$/,
    ({ cloud, path, json }) => {
      const project = permitIn(cloud, 'iam.serviceAccounts.create', path[0] ?? '', service)
      const email = `${json.accountId}@${project.id}.iam.gserviceaccount.com`
      if (project.accounts.some(each => each.email === email))
        throw alreadyExists(`Service account ${json.accountId}`)
      const { displayName = '' } = (json.serviceAccount ?? {}) as { displayName?: string }
      project.accounts.push({ email, displayName })
      return { email, displayName, name: `projects/${project.id}/serviceAccounts/${email}` }
    },
  ],
  [
    'POST',
    /^\/v1\/projects\/[^/]+\/serviceAccounts\/([^/@]+@([^/]+)\.iam\.gserviceaccount\.com):getIamPolicy$/,
    ({ cloud, path }) => {
      permit(cloud, 'iam.serviceAccounts.getIamPolicy', path[0] ?? '')
      const { accounts } = projectOf(cloud, path[1] ?? '')
      if (!accounts.some(({ email }) => email === path[0])) throw notFound(`Service account ${path[0]}`)
      return policyOf(cloud, path[0] ?? '')
    },
  ],
  [
    'DELETE',
    /^\/v1\/projects\/[^/]+\/serviceAccounts\/([^/@]+@([^/]+)\.iam\.gserviceaccount\.com)$/,
    ({ cloud, path }) => {
      const project = permitIn(cloud, 'iam.serviceAccounts.delete', path[1] ?? '', service)
      project.accounts = project.accounts.filter(({ email }) => email !== path[0])
      return {}
    },
  ],
  [
    'GET',
    /^\/v1\/projects\/([^/]+)\/roles$/,
    ({ cloud, path }) => {
      const project = permitIn(cloud, 'iam.roles.list', path[0] ?? '', service)
      return {
        roles: project.roles.filter(({ deleted }) => !deleted).map(({ name, title }) => ({ name, title })),
      }
    },
  ],
  [
    'GET',
    /^\/v1\/projects\/([^/]+)\/roles\/([^/]+)$/,
    ({ cloud, path }) => {
      const role = projectOf(cloud, path[0] ?? '').roles.find(({ name }) => name.endsWith(`/${path[1]}`))
      if (!role) throw notFound(`The role ${path[1]}`)
      return role
    },
  ],
  [
    'POST',
    /^\/v1\/projects\/([^/]+)\/roles$/,
    ({ cloud, path, json }) => {
      const project = permitIn(cloud, 'iam.roles.create', path[0] ?? '', service)
      const { title, includedPermissions } = json.role as { title: string; includedPermissions: string[] }
      const name = `projects/${project.id}/roles/${json.roleId}`
      if (project.roles.some(each => each.name === name)) throw alreadyExists(`Role ${name}`)
      project.roles.push({ name, title, includedPermissions })
      return { name, title, includedPermissions }
    },
  ],
  [
    'PATCH',
    /^\/v1\/projects\/([^/]+)\/roles\/([^/]+)$/,
    ({ cloud, path, json }) => {
      const project = permitIn(cloud, 'iam.roles.update', path[0] ?? '', service)
      const role = project.roles.find(({ name }) => name.endsWith(`/${path[1]}`))
      if (!role) throw notFound(`The role ${path[1]}`)
      role.includedPermissions = (json.includedPermissions ?? role.includedPermissions) as string[]
      return role
    },
  ],
]
