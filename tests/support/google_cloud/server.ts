/**
 * Google without Google: a stand-in for the REST interfaces of Cloud KMS, Storage, Logging, IAM, Service Usage and
 * Resource Manager, as far as `gcloud` and the anchor call them. It keeps state and enforces what matters.
 */
import { iamRoutes } from './iam.ts'
import { kmsRoutes } from './kms.ts'
import { loggingRoutes } from './logging.ts'
import { projectRoutes } from './projects.ts'
import { type Cloud, GoogleError } from './state.ts'
import { storageRoutes } from './storage.ts'

export interface Call {
  cloud: Cloud
  /** Groups of the route's pattern. */
  path: string[]
  query: URLSearchParams
  json: Record<string, unknown>
  bytes: Uint8Array
  /** The bearer token's owner; `admin` for the person at gcloud. */
  caller: string
  origin: string
}

export type Route = [method: string, path: RegExp, act: (call: Call) => unknown]

const routes: Route[] = [...storageRoutes, ...kmsRoutes, ...loggingRoutes, ...iamRoutes, ...projectRoutes]

export interface GoogleCloud {
  readonly url: string
  readonly cloud: Cloud
  /** `METHOD path` of each call, in order. */
  readonly calls: string[]
  stop(): Promise<void>
}

export function startGoogleCloud(cloud: Cloud): GoogleCloud {
  const calls: string[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const url = new URL(request.url)
      const path = decodeURIComponent(url.pathname)
      calls.push(`${request.method} ${path}`)
      try {
        const bytes = new Uint8Array(await request.arrayBuffer())
        const answer = await dispatch(request, url, path, bytes)
        return answer instanceof Response ? answer : Response.json(answer ?? {})
      } catch (thrown) {
        if (thrown instanceof GoogleError) return Response.json(thrown.body(), { status: thrown.code })
        throw thrown
      }
    },
  })

  async function dispatch(request: Request, url: URL, path: string, bytes: Uint8Array): Promise<unknown> {
    const token = /^Bearer (.+)$/.exec(request.headers.get('authorization') ?? '')?.[1]
    const caller = cloud.callers.get(token ?? '')
    if (caller === undefined)
      throw new GoogleError(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.')
    for (const [method, pattern, act] of routes) {
      const found = method === request.method ? pattern.exec(path) : null
      if (!found) continue
      const isJson = request.headers.get('content-type')?.startsWith('application/json') && bytes.length > 0
      const json = isJson ? (JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>) : {}
      return act({
        cloud,
        path: found.slice(1),
        query: url.searchParams,
        json,
        bytes,
        caller,
        origin: url.origin,
      })
    }
    throw new GoogleError(404, 'NOT_FOUND', `the stand-in has no ${request.method} ${path}`)
  }

  return { url: `http://127.0.0.1:${server.port}/`, cloud, calls, stop: () => server.stop(true) }
}
