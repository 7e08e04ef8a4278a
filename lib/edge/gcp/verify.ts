/** Re-reads everything that a set-up on Google Cloud promises, and keeps it as evidence. */
import { X509Certificate } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { anchorNumber } from '../../core/audit/anchor.ts'
import { ZtError } from '../../core/errors.ts'
import { type ObservedKey, type Policy, policySchema, readAnswer } from '../../core/gcp/observed.ts'
import { type Inherited, judgePromises, type Kept, type Seen } from '../../core/gcp/promises.ts'
import { anchorPrefix, checkGcpSettings, type GcpSettings, logFilter } from '../../core/gcp/settings.ts'
import { formatCanonical } from '../../core/json.ts'
import { makePrivateDir, readRegularFile, writeFileAtomic } from '../files.ts'
import { attestationSchema, verifyAttestation } from './attestation.ts'
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

/** Folders and the organisation above a project, with their policies. */
async function above(gcloud: Gcloud, project: string): Promise<Inherited[]> {
  const json = await gcloud.run(['projects', 'get-ancestors', project, '--format', 'json'])
  const found: Inherited[] = []
  for (const { id, type } of readAnswer(json, ancestorSchema, 'projects get-ancestors')) {
    if (type === 'project') continue
    const command = type === 'folder' ? ['resource-manager', 'folders'] : ['organizations']
    found.push({
      resource: `${type} ${id}`,
      policy: await policyIf(gcloud, ...command, 'get-iam-policy', id),
    })
  }
  return found
}

const versionSchema = z.object({ attestation: attestationSchema.optional() })

async function attestationOf(gcloud: Gcloud, { primary }: ObservedKey, roots: X509Certificate[], at: number) {
  if (primary === undefined) return 'missing' as const
  const answer = await gcloud.run(['kms', 'keys', 'versions', 'describe', primary.name, '--format', 'json'])
  return verifyAttestation(
    readAnswer(answer, versionSchema, 'kms keys versions describe').attestation,
    roots,
    at,
  )
}

/** Certificates of a folder; each file may hold one. @throws NOT_FOUND */
function readRoots(dir: string): X509Certificate[] {
  const names = readdirSync(dir).filter(name => /\.(?:pem|crt)$/.test(name))
  if (names.length === 0)
    throw new ZtError('NOT_FOUND', `${dir}: holds no certificates`, {
      hint: 'put the roots of HSM and Google there',
    })
  return names
    .sort()
    .map(name => new X509Certificate(readRegularFile(join(dir, name), 'root certificate', 1 << 16)))
}

const entrySchema = z.array(z.object({ timestamp: z.string() }))

async function newestEntry(gcloud: Gcloud, { project }: GcpSettings): Promise<number | null> {
  const args = ['logging', 'read', logFilter, '--limit', '1', '--freshness', '1d', '--project', project]
  const [entry] = readAnswer(await gcloud.run([...args, '--format', 'json']), entrySchema, 'logging read')
  return entry === undefined ? null : Date.parse(entry.timestamp)
}

const objectSchema = z.array(z.object({ name: z.string(), timeCreated: z.string() }))

/** The newest object by the store's clock, of anchors or of what the sink exports. */
async function newestObjects(
  gcloud: Gcloud,
  bucket: string,
): Promise<Pick<Seen, 'lastAnchor' | 'lastExport'>> {
  const answer = await gcloud.run([
    'storage',
    'objects',
    'list',
    `gs://${bucket}/**`,
    '--raw',
    '--format',
    'json',
  ])
  const objects = readAnswer(answer, objectSchema, 'storage objects list')
  const newest = (chosen: (name: string) => boolean): number | null => {
    const times = objects.filter(({ name }) => chosen(name)).map(({ timeCreated }) => Date.parse(timeCreated))
    return times.length === 0 ? null : Math.max(...times)
  }
  const isAnchor = (name: string) =>
    name.startsWith(anchorPrefix) && anchorNumber(name.slice(anchorPrefix.length)) !== undefined
  return { lastAnchor: newest(isAnchor), lastExport: newest(name => !name.startsWith(anchorPrefix)) }
}

export interface VerifyGcp {
  /** Folder of root certificates of the HSM's manufacturer and of Google. */
  hsmRoots?: string
  /** Where the evidence goes, as an observation (SPEC §7.1). */
  out?: string
}

/** @throws MISSING_TOOL, DENIED, NOT_FOUND where it could not look at all */
export async function verifyGcp(given: GcpSettings, { hsmRoots, out }: VerifyGcp): Promise<Kept[]> {
  const roots = hsmRoots === undefined ? null : readRoots(hsmRoots)
  const gcloud = await openGcloud()
  const observed = await observeGcp(gcloud, checkGcpSettings(given))
  const settings = withKnownTenants(given, observed)
  const { project, wormProject, region, keyRing, bucket } = settings
  const place = ['--location', region, '--project', project]
  const ring = await policyIf(gcloud, 'kms', 'keyrings', 'get-iam-policy', keyRing, ...place)
  const at = Date.now()
  const attestations: Seen['attestations'] = {}
  for (const key of observed.keys)
    attestations[key.name] = roots === null ? null : await attestationOf(gcloud, key, roots, at)
  const seen: Seen = {
    at,
    settings,
    keys: observed.keys,
    keyParents: [
      { resource: `key ring ${keyRing}`, policy: ring },
      { resource: `project ${project}`, policy: observed.policy },
      ...(await above(gcloud, project)),
    ],
    bucket: observed.bucket,
    bucketParents: [
      { resource: `project ${wormProject}`, policy: observed.wormPolicy },
      ...(await above(gcloud, wormProject)),
    ],
    sink: observed.sink,
    attestations,
    lastEntry: await newestEntry(gcloud, settings),
    ...(observed.bucket === null
      ? { lastAnchor: null, lastExport: null }
      : await newestObjects(gcloud, bucket)),
  }
  if (out !== undefined) keepEvidence(out, seen)
  return judgePromises(seen)
}

function keepEvidence(out: string, seen: Seen): void {
  makePrivateDir(out)
  const observation = {
    v: 1,
    id: 'google',
    time: `${new Date(seen.at).toISOString().slice(0, -1)}000Z`,
    host: hostname(),
    identity: 'the account of gcloud',
    grade: 'off-host',
    command: 'outside_gcp_setup verify',
    result: seen,
  }
  writeFileAtomic(join(out, 'google.json'), formatCanonical(observation, true))
}
