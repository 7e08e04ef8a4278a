import type { Route } from './server.ts'
import { alreadyExists, notFound, permitIn, projectOf, type Sink } from './state.ts'

const service = 'logging.googleapis.com'

export const loggingRoutes: Route[] = [
  [
    'GET',
    /^\/v2\/projects\/([^/]+)\/sinks$/,
    ({ cloud, path }) => ({ sinks: permitIn(cloud, 'logging.sinks.list', path[0] ?? '', service).sinks }),
  ],
  [
    'POST',
    /^\/v2\/projects\/([^/]+)\/sinks$/,
    ({ cloud, path, json }) => {
      const project = permitIn(cloud, 'logging.sinks.create', path[0] ?? '', service)
      const { name, destination, filter } = json as unknown as Sink
      if (project.sinks.some(each => each.name === name)) throw alreadyExists(`Sink ${name}`)
      const writerIdentity = `serviceAccount:service-${project.number}@gcp-sa-logging.iam.gserviceaccount.com`
      project.sinks.push({ name, destination, filter, writerIdentity })
      return project.sinks.at(-1)
    },
  ],
  ...(['GET', 'PATCH', 'PUT', 'DELETE'] as const).map(
    (method): Route => [
      method,
      /^\/v2\/projects\/([^/]+)\/sinks\/([^/]+)$/,
      ({ cloud, path, json }) => {
        const right = { GET: 'get', PATCH: 'update', PUT: 'update', DELETE: 'delete' }[method]
        const project = permitIn(cloud, `logging.sinks.${right}`, path[0] ?? '', service)
        const sink = project.sinks.find(({ name }) => name === path[1])
        if (!sink) throw notFound(`Sink ${path[1]}`)
        if (method === 'DELETE') project.sinks = project.sinks.filter(each => each !== sink)
        else Object.assign(sink, json)
        return sink
      },
    ],
  ),
  [
    'POST',
    /^\/v2\/entries:list$/,
    ({ cloud, json }) => {
      const [resource = ''] = (json.resourceNames ?? []) as string[]
      const project = projectOf(cloud, resource.replace('projects/', ''))
      const since = /timestamp>="([^"]+)"/.exec(String(json.filter))?.[1] ?? ''
      const entries = project.logs.filter(({ timestamp }) => timestamp >= since)
      return { entries: entries.toReversed().slice(0, Number(json.pageSize ?? 50)) }
    },
  ],
]
