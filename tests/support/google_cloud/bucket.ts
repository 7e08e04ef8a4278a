/** A bucket of anchors and rights on it, as outside_gcp_setup leaves them. */
import type { Bucket, Cloud } from './state.ts'
import { newCloud } from './state.ts'

export const hostToken = 'host-token-0123456789'
export const auditorToken = 'auditor-token-0123456789'
const host = 'zt-host@acme-prod-1.iam.gserviceaccount.com'
const auditor = 'zt-auditor@acme-worm-1.iam.gserviceaccount.com'
const role = 'projects/acme-worm-1/roles/ztmysqlAnchor'
export const place = 'gs://acme-anchors/anchors/'

export function cloudWithBucket(): { cloud: Cloud; bucket: Bucket } {
  const cloud = newCloud(['acme-prod-1', 'acme-worm-1'])
  cloud.callers.set(hostToken, host).set(auditorToken, auditor)
  const timeCreated = new Date().toISOString()
  const bucket: Bucket = {
    name: 'acme-anchors',
    project: 'acme-worm-1',
    location: 'EUROPE-WEST3',
    metageneration: 1,
    timeCreated,
    iamConfiguration: { uniformBucketLevelAccess: { enabled: true }, publicAccessPrevention: 'enforced' },
    retentionPolicy: { retentionPeriod: '86400', effectiveTime: timeCreated, isLocked: true },
    labels: {},
    objects: [],
  }
  cloud.buckets.set(bucket.name, bucket)
  const includedPermissions = ['storage.objects.create', 'storage.objects.get']
  cloud.projects.get('acme-worm-1')?.roles.push({ name: role, title: '', includedPermissions })
  const expression = 'resource.name.startsWith("projects/_/buckets/acme-anchors/objects/anchors/")'
  cloud.policies.set('b/acme-anchors', {
    version: 3,
    etag: 'E',
    bindings: [
      { role, members: [`serviceAccount:${host}`], condition: { title: 'x', expression } },
      { role: 'roles/storage.objectViewer', members: [`serviceAccount:${auditor}`] },
    ],
  })
  return { cloud, bucket }
}
