import { promises } from '../gcp/promises.ts'
import type { Control } from './control.ts'

const google = {
  layer: 'google',
  grade: 'off-host',
  // a deployment elsewhere has no such evidence, which is not applicable and never a pass
  status: 'available',
  triedOn: 'stand-ins for Google alone',
  expect: { kind: 'google' },
} as const

/** What a promise rests on beside the promise itself. */
const about: Record<string, Pick<Control, 'standard' | 'enforcedBy' | 'sabotage'>> = {
  'google.hsm': {
    standard: ['FIPS 140-3', 'PCI DSS 3.6.1'],
    enforcedBy: 'Cloud KMS, protection level HSM',
    sabotage: 'a key of protection level SOFTWARE',
  },
  'google.attested': {
    standard: ['FIPS 140-3'],
    enforcedBy: 'hsm-roots.pem of the trust folder',
    sabotage: 'an attestation of another HSM',
  },
  'google.rotation': {
    standard: ['PCI DSS 3.7.4', 'SP 800-57'],
    enforcedBy: 'rotation period of each key',
    sabotage: 'gcloud kms keys update --remove-rotation-schedule',
  },
  'google.tenant-alone': {
    standard: ['PCI DSS 3.6.1.3', 'ISO 27001 A.8.24'],
    enforcedBy: 'IAM of key, ring, project, folders, organisation',
    sabotage: 'roles/cloudkms.cryptoKeyDecrypter for somebody on the folder',
  },
  'google.unborrowed': {
    standard: ['CIS GCP 1.6'],
    enforcedBy: 'IAM of the service accounts and above',
    sabotage: 'roles/iam.serviceAccountTokenCreator for a machine on a client',
  },
  'google.host-keyless': {
    standard: ['PCI DSS 3.6.1.3'],
    enforcedBy: 'IAM',
    sabotage: 'any role of cloudkms for zt-host',
  },
  'google.administrators': {
    standard: ['CIS GCP 1.11'],
    enforcedBy: 'IAM',
    sabotage: 'roles/owner for a service account',
  },
  'google.retention': {
    standard: ['SEC 17a-4(f)', 'PCI DSS 10.5.1'],
    enforcedBy: 'locked retention policy of the bucket',
    sabotage: 'a retention that is not locked',
  },
  'google.private': {
    standard: ['CIS GCP 5.1, 5.2'],
    enforcedBy: 'uniform access, public-access prevention',
    sabotage: 'roles/storage.objectViewer for allUsers',
  },
  'google.host-creates': {
    standard: ['PCI DSS 10.3.2'],
    enforcedBy: 'role ztmysqlAnchor, conditioned on the prefix',
    sabotage: 'storage.objects.delete in the role',
  },
  'google.apart': {
    standard: ['SP 800-53 AC-5'],
    enforcedBy: 'WORM_PROJECT_ID',
    sabotage: 'one project for both',
  },
  'google.anchored': {
    standard: ['PCI DSS 10.3.3'],
    enforcedBy: 'anchor_head --worm gs://',
    sabotage: 'anchor_head stopped',
  },
  'google.logged': {
    standard: ['PCI DSS 10.3.3'],
    enforcedBy: 'Ops Agent',
    sabotage: 'the agent stopped',
  },
  'google.exported': {
    standard: ['PCI DSS 10.3.3'],
    enforcedBy: 'log sink',
    sabotage: 'the sink disabled',
  },
}

const evidence = 'google.evidence'

export const googleControls: Control[] = [
  {
    ...google,
    id: evidence,
    claim: 'the evidence from Google is of this log and of every tenant’s key, and of the day of this bundle',
    standard: ['SP 800-53 AU-10'],
    enforcedBy: 'the newest anchor’s checksum in it; outside_gcp_setup verify',
    dependsOn: ['audit.bracketed'],
    sabotage: 'evidence of last week',
  },
  ...promises.map(({ id, promise }): Control => {
    const more = about[id]
    if (more === undefined) throw new Error(`no words about ${id}`) // a programmer's mistake: every test meets it
    return { ...google, id, claim: promise, ...more, dependsOn: [evidence] }
  }),
]
