import type { Route } from './server.ts'
import { type Cloud, type Policy, permit, permitIn, policyOf, projectOf, setPolicy } from './state.ts'

function enable(cloud: Cloud, projectId: string, names: string[]): object {
  const project = permitIn(cloud, 'serviceusage.services.enable', projectId, 'serviceusage.googleapis.com')
  for (const name of names) project.services.add(name)
  return { name: 'operations/acf.1', done: true, response: {} }
}

export const projectRoutes: Route[] = [
  [
    'GET',
    /^\/v1\/projects\/([^/:]+)$/,
    ({ cloud, path }) => {
      const project = projectOf(cloud, path[0] ?? '')
      permit(cloud, 'resourcemanager.projects.get', `projects/${project.id}`)
      return {
        projectId: project.id,
        projectNumber: project.number,
        lifecycleState: 'ACTIVE',
        name: project.id,
      }
    },
  ],
  [
    'POST',
    /^\/v[13]\/projects\/([^/:]+):getAncestry$/,
    ({ cloud, path }) => {
      const project = projectOf(cloud, path[0] ?? '')
      const ids = [`projects/${project.id}`, ...project.ancestors].map(name => name.split('/'))
      return { ancestor: ids.map(([type, id]) => ({ resourceId: { type: type?.replace(/s$/, ''), id } })) }
    },
  ],
  [
    'POST',
    /^\/v[123]\/((?:projects|folders|organizations)\/[^/:]+):getIamPolicy$/,
    ({ cloud, path }) => {
      const [type, id = ''] = (path[0] ?? '').split('/')
      if (type === 'projects') projectOf(cloud, id)
      permit(cloud, `resourcemanager.${type}.getIamPolicy`, path[0] ?? '')
      return policyOf(cloud, path[0] ?? '')
    },
  ],
  [
    'POST',
    /^\/v[123]\/((?:projects|folders|organizations)\/[^/:]+):setIamPolicy$/,
    ({ cloud, path, json }) => {
      const [type] = (path[0] ?? '').split('/')
      permit(cloud, `resourcemanager.${type}.setIamPolicy`, path[0] ?? '')
      return setPolicy(cloud, path[0] ?? '', json.policy as Partial<Policy>)
    },
  ],
  [
    'GET',
    /^\/v1\/projects\/([^/]+)\/services$/,
    ({ cloud, path }) => {
      const project = permitIn(
        cloud,
        'serviceusage.services.list',
        path[0] ?? '',
        'serviceusage.googleapis.com',
      )
      const services = [...project.services].map(name => ({
        name: `projects/${project.number}/services/${name}`,
        config: { name },
        state: 'ENABLED',
      }))
      return { services }
    },
  ],
  [
    'POST',
    /^\/v1\/projects\/([^/]+)\/services\/([^/:]+):enable$/,
    ({ cloud, path }) => enable(cloud, path[0] ?? '', [path[1] ?? '']),
  ],
  [
    'POST',
    /^\/v1\/projects\/([^/]+)\/services:batchEnable$/,
    ({ cloud, path, json }) => enable(cloud, path[0] ?? '', json.serviceIds as string[]),
  ],
  ['GET', /^\/v1\/operations\/.+$/, () => ({ done: true, response: {} })],
]
