/** Re-reads everything that a set-up on Google Cloud promises, and keeps it as evidence. */
import { readdirSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { anchorNumber } from '../../core/audit/anchor.ts'
import type { Bytes } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { googleProbe, type Inherited, type Seen } from '../../core/gcp/evidence.ts'
import { type Policy, policySchema, readAnswer, roleSchema } from '../../core/gcp/observed.ts'
import { judgePromises, type Kept } from '../../core/gcp/promises.ts'
import { isCustom } from '../../core/gcp/rights.ts'
import {
  anchorPrefix,
  checkGcpSettings,
  clientAccountId,
  emailOf,
  type GcpSettings,
  logFilter,
} from '../../core/gcp/settings.ts'
import { parsePems } from '../../core/pem.ts'
import { formatObservation } from '../../core/proof/observation.ts'
import { formatTime } from '../../core/time.ts'
import { makePrivateDir, readRegularFile, writeFileAtomic } from '../files.ts'
import { usesStandIn } from '../gcs.ts'
import { attestBy } from './attestation.ts'
import { attestationOf } from './attestation_fetch.ts'
import { evidenceName } from './evidence_file.ts'
import { type Gcloud, openGcloud } from './gcloud.ts'
import { observeGcp } from './observe.ts'
import { withKnownTenants } from './setup.ts'

/** null where this account may not see it: the judge takes that for a broken promise. */
async function policyIf(gcloud: Gcloud, ...args: string[]): Promise<Policy | null> {
  try {
    return readAnswer(
      await gcloud.run([...args, '--format', 'json']),
      policySchema,
      args.slice(0, 4).join(' '),
    )
  } catch (thrown) {
    if (thrown instanceof ZtError && (thrown.code === 'DENIED' || thrown.code === 'NOT_FOUND')) return null
    throw thrown
  }
}

const ancestorSchema = z.array(z.object({ id: z.string(), type: z.string() }))

/** Folders and the organisation above a project, with their policies. @param seen of another project: asked once */
async function above(gcloud: Gcloud, project: string, seen: Inherited[] = []): Promise<Inherited[]> {
  const json = await gcloud.run(['projects', 'get-ancestors', project, '--format', 'json'])
  const found: Inherited[] = []
  for (const { id, type } of readAnswer(json, ancestorSchema, 'projects get-ancestors')) {
    if (type === 'project') continue
    const resource = `${type} ${id}`
    const command = type === 'folder' ? ['resource-manager', 'folders'] : ['organizations']
    const known = seen.find(each => each.resource === resource)
    found.push(known ?? { resource, policy: await policyIf(gcloud, ...command, 'get-iam-policy', id) })
  }
  return found
}

/** Who may act as the tenants' clients. */
async function accountPolicies(gcloud: Gcloud, { project, tenants }: GcpSettings): Promise<Seen['accounts']> {
  const found: Seen['accounts'] = []
  for (const email of tenants.map(tenant => emailOf(clientAccountId(tenant), project)))
    found.push({
      email,
      policy: await policyIf(
        gcloud,
        'iam',
        'service-accounts',
        'get-iam-policy',
        email,
        '--project',
        project,
      ),
    })
  return found
}

/** What the custom roles of these policies allow: a name says nothing. */
async function customRoles(gcloud: Gcloud, policies: (Policy | null)[]): Promise<Seen['roles']> {
  const names = policies.flatMap(policy => policy?.bindings.map(({ role }) => role) ?? []).filter(isCustom)
  const found: Seen['roles'] = {}
  for (const name of [...new Set(names)].sort()) {
    const [kind, owner = '', , id = ''] = name.split('/')
    const place = kind === 'projects' ? '--project' : '--organization'
    found[name] = await permissionsIf(gcloud, 'iam', 'roles', 'describe', id, place, owner)
  }
  return found
}

async function permissionsIf(gcloud: Gcloud, ...args: string[]): Promise<string[] | null> {
  try {
    const role = readAnswer(await gcloud.run([...args, '--format', 'json']), roleSchema, 'iam roles describe')
    return role.includedPermissions.toSorted()
  } catch (thrown) {
    if (thrown instanceof ZtError && (thrown.code === 'DENIED' || thrown.code === 'NOT_FOUND')) return null
    throw thrown
  }
}

/** Certificates of a folder or of one file, one behind the other. @throws NOT_FOUND, BAD_FORMAT */
function readRoots(path: string): Bytes[] {
  const isDir = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
  const files = isDir
    ? readdirSync(path)
        .filter(name => /\.(?:pem|crt)$/.test(name))
        .sort()
        .map(name => join(path, name))
    : [path]
  if (files.length === 0)
    throw new ZtError('NOT_FOUND', `${path}: holds no certificates`, {
      hint: 'put the roots of HSM and Google there',
    })
  return files.flatMap(file =>
    parsePems(readRegularFile(file, 'root certificate', 1 << 18).toString('utf8'), 'CERTIFICATE', file),
  )
}

const entrySchema = z.array(z.object({ timestamp: z.string() }))

async function newestEntry(gcloud: Gcloud, { project }: GcpSettings): Promise<number | null> {
  const args = ['logging', 'read', logFilter, '--limit', '1', '--freshness', '1d', '--project', project]
  const [entry] = readAnswer(await gcloud.run([...args, '--format', 'json']), entrySchema, 'logging read')
  return entry === undefined ? null : Date.parse(entry.timestamp)
}

const objectSchema = z.array(z.object({ name: z.string(), timeCreated: z.string(), crc32c: z.string() }))

/** The newest object by the store's clock, of anchors or of what the sink exports. */
async function newestObjects(
  gcloud: Gcloud,
  bucket: string,
): Promise<Pick<Seen, 'lastAnchor' | 'lastExport'>> {
  const args = ['storage', 'objects', 'list', `gs://${bucket}/**`, '--raw', '--format', 'json']
  const objects = readAnswer(await gcloud.run(args), objectSchema, 'storage objects list')
  const newest = (chosen: (name: string) => boolean): Seen['lastAnchor'] =>
    objects
      .filter(({ name }) => chosen(name))
      .map(({ name, timeCreated, crc32c }) => ({ name, created: Date.parse(timeCreated), crc32c }))
      .sort((a, b) => a.created - b.created || (a.name < b.name ? -1 : 1))
      .at(-1) ?? null
  const isAnchor = (name: string) =>
    name.startsWith(anchorPrefix) && anchorNumber(name.slice(anchorPrefix.length)) !== undefined
  return {
    lastAnchor: newest(isAnchor),
    lastExport: newest(name => !name.startsWith(anchorPrefix))?.created ?? null,
  }
}

export interface VerifyGcp {
  /** Folder of root certificates of the HSM's manufacturer and of Google. */
  hsmRoots?: string
  /** Where the evidence goes, as an observation (SPEC §7.1). */
  out?: string
}

/** gcloud and this program go where the environment sends them, which need not be Google. */
const atStandIn = (env: NodeJS.ProcessEnv = process.env): boolean =>
  usesStandIn(env) || Object.keys(env).some(name => name.startsWith('CLOUDSDK_API_ENDPOINT_OVERRIDES_'))

/** @throws MISSING_TOOL, DENIED, NOT_FOUND where it could not look at all */
export async function verifyGcp(given: GcpSettings, { hsmRoots, out }: VerifyGcp): Promise<Kept[]> {
  const attest = hsmRoots === undefined ? undefined : attestBy(readRoots(hsmRoots))
  const gcloud = await openGcloud()
  const observed = await observeGcp(gcloud, checkGcpSettings(given))
  const settings = withKnownTenants(given, observed)
  const { project, wormProject, region, keyRing, bucket } = settings
  const place = ['--location', region, '--project', project]
  const ring = await policyIf(gcloud, 'kms', 'keyrings', 'get-iam-policy', keyRing, ...place)
  const keyParents = [
    { resource: `key ring ${keyRing}`, policy: ring },
    { resource: `project ${project}`, policy: observed.policy },
    ...(await above(gcloud, project)),
  ]
  const bucketParents = [
    { resource: `project ${wormProject}`, policy: observed.wormPolicy },
    ...(project === wormProject ? keyParents.slice(2) : await above(gcloud, wormProject, keyParents)),
  ]
  const accounts = await accountPolicies(gcloud, settings)
  const attestations: Seen['attestations'] = {}
  for (const key of observed.keys) attestations[key.name] = await attestationOf(gcloud, key)
  const policies = [...keyParents, ...bucketParents, ...accounts, ...observed.keys].map(each => each.policy)
  const roles = await customRoles(gcloud, [...policies, observed.bucket?.policy ?? null])
  const lastEntry = await newestEntry(gcloud, settings)
  const newest =
    observed.bucket === null ? { lastAnchor: null, lastExport: null } : await newestObjects(gcloud, bucket)
  const seen: Seen = {
    at: Date.now(),
    standIn: atStandIn(),
    settings,
    keys: observed.keys,
    keyParents,
    accounts,
    roles,
    bucket: observed.bucket,
    bucketParents,
    sink: observed.sink,
    attestations,
    lastEntry,
    ...newest,
  }
  if (out !== undefined) keepEvidence(out, seen)
  return judgePromises(seen, attest)
}

function keepEvidence(out: string, seen: Seen): void {
  makePrivateDir(out)
  const text = formatObservation({
    v: 1,
    id: googleProbe,
    time: formatTime(seen.at * 1000),
    host: hostname(),
    identity: `the account of gcloud${seen.standIn ? ', AT A STAND-IN AND NOT AT GOOGLE' : ''}`,
    grade: 'off-host',
    command: 'outside_gcp_setup verify',
    result: JSON.parse(JSON.stringify(seen)), // members that are undefined go
  })
  writeFileAtomic(join(out, evidenceName), text)
}
