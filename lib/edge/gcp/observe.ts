/** Looks at everything on Google Cloud that the set-up is about. */
import { z } from 'zod'
import { ZtError } from '../../core/errors.ts'
import {
  accountSchema,
  bucketSchema,
  keySchema,
  type Observed,
  type ObservedBucket,
  type ObservedKey,
  type Policy,
  policySchema,
  projectSchema,
  readAnswer,
  roleSchema,
  serviceSchema,
  sinkSchema,
} from '../../core/gcp/observed.ts'
import { type GcpSettings, hostRole, hostRoleName, keyRingName } from '../../core/gcp/settings.ts'
import type { Gcloud } from './gcloud.ts'

async function asked<S extends z.ZodType>(
  gcloud: Gcloud,
  schema: S,
  ...args: string[]
): Promise<z.output<S>> {
  return readAnswer(await gcloud.run([...args, '--format', 'json']), schema, args.slice(0, 4).join(' '))
}

const named = z.object({ name: z.string() })

async function lookAtProject(gcloud: Gcloud, id: string): Promise<{ id: string; number: string }> {
  const { projectNumber } = await asked(gcloud, projectSchema, 'projects', 'describe', id)
  return { id, number: projectNumber }
}

async function servicesOf(gcloud: Gcloud, project: string): Promise<string[]> {
  const list = await asked(
    gcloud,
    z.array(serviceSchema),
    'services',
    'list',
    '--enabled',
    '--project',
    project,
  )
  return list.map(({ config }) => config.name)
}

async function keysOf(gcloud: Gcloud, { project, region, keyRing }: GcpSettings): Promise<ObservedKey[]> {
  const place = ['--keyring', keyRing, '--location', region, '--project', project]
  const keys = await asked(gcloud, z.array(keySchema), 'kms', 'keys', 'list', ...place)
  const policies: Policy[] = []
  for (const { name } of keys) // one after the other: the quota of a project is small
    policies.push(
      await asked(
        gcloud,
        policySchema,
        'kms',
        'keys',
        'get-iam-policy',
        name.split('/').at(-1) ?? '',
        ...place,
      ),
    )
  return keys.map((key, i) => ({ ...key, policy: policies[i] ?? { bindings: [] } }))
}

async function keysInRing(
  gcloud: Gcloud,
  settings: GcpSettings,
): Promise<Pick<Observed, 'keyRing' | 'keys'>> {
  const { project, region } = settings
  const rings = await asked(
    gcloud,
    z.array(named),
    'kms',
    'keyrings',
    'list',
    '--location',
    region,
    '--project',
    project,
  )
  const keyRing = rings.some(({ name }) => name === keyRingName(settings))
  return { keyRing, keys: keyRing ? await keysOf(gcloud, settings) : [] }
}

async function bucketOf(
  gcloud: Gcloud,
  { bucket, wormProject }: GcpSettings,
): Promise<ObservedBucket | null> {
  const list = await asked(
    gcloud,
    z.array(bucketSchema),
    'storage',
    'buckets',
    'list',
    '--raw',
    '--project',
    wormProject,
  )
  const found = list.find(({ name }) => name === bucket)
  if (found === undefined) return null
  return {
    ...found,
    policy: await asked(gcloud, policySchema, 'storage', 'buckets', 'get-iam-policy', `gs://${bucket}`),
  }
}

async function emailsOf(gcloud: Gcloud, project: string): Promise<string[]> {
  const list = await asked(
    gcloud,
    z.array(accountSchema),
    'iam',
    'service-accounts',
    'list',
    '--project',
    project,
  )
  return list.map(({ email }) => email)
}

async function roleOf(gcloud: Gcloud, settings: GcpSettings): Promise<Observed['role']> {
  const place = ['--project', settings.wormProject]
  const list = await asked(gcloud, z.array(named), 'iam', 'roles', 'list', ...place)
  if (!list.some(({ name }) => name === hostRoleName(settings))) return null
  return asked(gcloud, roleSchema, 'iam', 'roles', 'describe', hostRole.id, ...place)
}

const ifOn = async <T>(on: boolean, empty: T, look: () => Promise<T>): Promise<T> => (on ? look() : empty)

/** @throws by gcloudError; NOT_FOUND where a project is not there or not ours to see */
export async function observeGcp(gcloud: Gcloud, settings: GcpSettings): Promise<Observed> {
  const [project, wormProject] = await Promise.all([
    lookAtProject(gcloud, settings.project),
    lookAtProject(gcloud, settings.wormProject),
  ])
  const [own, worm] = await Promise.all([
    servicesOf(gcloud, settings.project),
    servicesOf(gcloud, settings.wormProject),
  ])
  // a service that is off holds nothing, and to ask it is an error
  const on = (list: string[], name: string) => list.includes(`${name}.googleapis.com`)
  const [ring, accounts, wormAccounts, role, bucket, sinks, policy, wormPolicy] = await Promise.all([
    ifOn(on(own, 'cloudkms'), { keyRing: false, keys: [] }, () => keysInRing(gcloud, settings)),
    ifOn(on(own, 'iam'), [], () => emailsOf(gcloud, settings.project)),
    ifOn(on(worm, 'iam'), [], () => emailsOf(gcloud, settings.wormProject)),
    ifOn(on(worm, 'iam'), null, () => roleOf(gcloud, settings)),
    ifOn(on(worm, 'storage'), null, () => bucketOf(gcloud, settings)),
    ifOn(on(own, 'logging'), [], () =>
      asked(gcloud, z.array(sinkSchema), 'logging', 'sinks', 'list', '--project', settings.project),
    ),
    asked(gcloud, policySchema, 'projects', 'get-iam-policy', settings.project),
    asked(gcloud, policySchema, 'projects', 'get-iam-policy', settings.wormProject),
  ])
  const sink = sinks.find(({ name }) => name === settings.sink) ?? null
  if (role?.deleted === true)
    throw new ZtError('CONFLICT', `role ${hostRoleName(settings)}: was deleted and its name is still taken`, {
      hint: `bring it back: gcloud iam roles undelete ${hostRole.id} --project ${settings.wormProject}`,
    })
  return {
    project,
    wormProject,
    services: { project: own, worm },
    ...ring,
    accounts,
    wormAccounts,
    role,
    bucket,
    sink,
    policy,
    wormPolicy,
  }
}
