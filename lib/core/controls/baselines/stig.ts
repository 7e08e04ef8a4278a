import type { Baseline, BaselineRow } from './baseline.ts'

const trail =
  'asks for an audit plug-in that the community server does not have; the trail serves instead: an event in the transaction of each write, chained, signed, and anchored off the host'
const trailControls = ['audit.chain', 'audit.state', 'audit.signatures']
const readsUnseen =
  'asks for an audit plug-in that the community server does not have; reads and log-ins leave no event in the trail, refused log-ins a line in the error log'

/** Rules of one kind: the number after `V-`, and the event that each wants recorded. */
const recorded = (exception: string, rules: [number, string][]): BaselineRow[] =>
  rules.map(([number, event]) => ({
    id: `V-${number}`,
    title: `an audit record of ${event}`,
    exception,
    ...(exception === trail ? { controls: trailControls } : {}),
  }))

const auditRules: BaselineRow[] = [
  ...recorded(trail, [
    [235097, 'enough to say what type of event occurred'],
    [235098, 'what the organisation wants to know besides'],
    [235103, 'the events that are named as auditable'],
    [235111, 'privileges added'],
    [235113, 'privileges changed'],
    [235115, 'security objects changed'],
    [235117, 'categories of information changed'],
    [235119, 'privileges deleted'],
    [235121, 'security objects deleted'],
    [235123, 'categories of information deleted'],
    [235127, 'privileged activity'],
    [235131, 'access to objects'],
    [235170, 'the enforcement of restrictions on changes'],
  ]),
  ...recorded(readsUnseen, [
    [235104, 'events that only a security officer chooses'],
    [235105, 'privileges retrieved'],
    [235106, 'failed attempts to retrieve privileges'],
    [235107, 'security objects accessed'],
    [235108, 'failed attempts to access security objects'],
    [235109, 'categories of information accessed'],
    [235110, 'failed attempts to access categories of information'],
    [235112, 'failed attempts to add privileges'],
    [235114, 'failed attempts to change privileges'],
    [235116, 'failed attempts to change security objects'],
    [235118, 'failed attempts to change categories of information'],
    [235120, 'failed attempts to delete privileges'],
    [235122, 'failed attempts to delete security objects'],
    [235124, 'failed attempts to delete categories of information'],
    [235125, 'log-ins'],
    [235126, 'failed log-ins'],
    [235128, 'failed attempts at privileged activity'],
    [235129, 'the beginning and end of sessions'],
    [235130, 'sessions of one account from several places'],
    [235132, 'failed attempts to access objects'],
    [235133, 'direct access to the database'],
    [235159, 'sessions, from the start on'],
  ]),
]

/** The guide numbers MySQL 8.0; a guide for later releases did not exist when this was written. */
export const stig: Baseline = {
  id: 'disa-stig-mysql-8.0',
  title: 'DISA STIG, Oracle MySQL 8.0',
  source: 'https://public.cyber.mil/stigs/',
  rows: [
    {
      id: 'V-235095',
      title: 'accounts come from an organisation-wide management',
      exception:
        'accounts come from the PKI on the workstation, a certificate each; there is no directory service',
      controls: ['identity.accounts-bound'],
    },
    { id: 'V-235096', title: 'sessions of an account are limited', settings: ['max_connections'] },
    {
      id: 'V-235099',
      title: 'audit information is protected from reading',
      controls: ['writes.procedures-only', 'identity.rights'],
    },
    {
      id: 'V-235100',
      title: 'audit information is protected from change',
      controls: ['audit.chain', 'audit.anchored', 'audit.append-only'],
    },
    {
      id: 'V-235101',
      title: 'audit information is protected from deletion',
      controls: ['audit.chain', 'audit.anchored', 'audit.append-only'],
    },
    { id: 'V-235102', title: 'nobody can deny what he did', controls: ['audit.signatures'] },
    ...auditRules,
    {
      id: 'V-235134',
      title: 'certificates are validated by a path to a trust anchor',
      controls: ['network.server-identity', 'network.mutual-authentication'],
    },
    { id: 'V-235135', title: 'private keys are read by their owner alone', facts: ['key-files'] },
    {
      id: 'V-235136',
      title: 'a certificate stands for one account',
      controls: ['identity.certificate-binding', 'identity.accounts-bound'],
    },
    {
      id: 'V-235137',
      title: 'rules of length and life for passwords',
      exception: 'no person chooses a password: each is random and stands beside a certificate',
      controls: ['identity.accounts-bound'],
    },
    { id: 'V-235138', title: 'passwords are stored hashed', settings: ['authentication_policy'] },
    { id: 'V-235139', title: 'passwords travel encrypted', controls: ['network.tls-enforced'] },
    {
      id: 'V-235141',
      title: 'approved authorisations are enforced',
      controls: ['identity.rights', 'writes.procedures-only', 'writes.tenant-isolation'],
    },
    { id: 'V-235142', title: 'configured by the guide that was chosen', controls: ['host.settings'] },
    {
      id: 'V-235143',
      title: 'no sample databases',
      facts: ['sample-databases'],
    },
    { id: 'V-235145', title: 'unused components are off', settings: ['mysqlx'] },
    {
      id: 'V-235146',
      title: 'no more ports and protocols than needed',
      settings: ['mysqlx', 'admin_address', 'bind_address'],
    },
    { id: 'V-235147', title: 'users are identified one by one', controls: ['identity.accounts-bound'] },
    {
      id: 'V-235148',
      title: 'authentication by validated cryptographic modules',
      exception: 'OpenSSL of the host does it; whether that is a validated module, host.fips says',
      controls: ['host.fips'],
    },
    {
      id: 'V-235151',
      title: 'security functions are separated from the rest',
      controls: ['writes.procedures-only', 'identity.rights'],
    },
    {
      id: 'V-235152',
      title: 'contents are protected from unauthorised transfer',
      controls: ['data.ciphertext-only', 'writes.tenant-isolation'],
    },
    {
      id: 'V-235153',
      title: 'files are reached by the server alone',
      facts: ['key-files'],
    },
    {
      id: 'V-235154',
      title: 'sessions are authentic',
      controls: ['network.tls-enforced', 'identity.certificate-binding', 'writes.tenant-context'],
    },
    {
      id: 'V-235155',
      title: 'information at rest is protected',
      controls: ['data.ciphertext-only', 'data.wrapped-keys', 'data.canary-absent'],
    },
    {
      id: 'V-235160',
      title: 'audit features are protected from use',
      controls: ['identity.rights', 'audit.schema'],
    },
    {
      id: 'V-235161',
      title: 'audit features are protected from change',
      controls: ['identity.rights', 'audit.schema'],
    },
    {
      id: 'V-235162',
      title: 'audit features are protected from removal',
      controls: ['identity.rights', 'audit.schema'],
    },
    {
      id: 'V-235166',
      title: 'few may change the structure of the database',
      controls: ['identity.rights', 'audit.schema'],
    },
    {
      id: 'V-235168',
      title: 'users install no logic of their own',
      controls: ['identity.rights'],
      settings: ['log_bin_trust_function_creators'],
    },
    { id: 'V-235169', title: 'few may change the configuration', controls: ['identity.rights'] },
    {
      id: 'V-235174',
      title: 'audit records go to storage off the system',
      exception:
        'events stay in the database; their head is anchored off the host each minute, so that no change of them goes unseen',
      controls: ['audit.anchored', 'audit.heartbeat'],
    },
    {
      id: 'V-235180',
      title: 'routines run with no more rights than needed',
      exception:
        'api_definer owns every routine, view, trigger and event, so that applications hold no right on a table; it cannot log in, and each definer stands in the golden fingerprint',
      controls: ['audit.schema'],
    },
    {
      id: 'V-235181',
      title: 'users without privileges execute no privileged functions',
      controls: ['identity.rights'],
    },
    {
      id: 'V-235186',
      title: 'information on its way is protected',
      controls: ['network.tls-enforced', 'network.tls-1.3', 'network.suites'],
    },
    {
      id: 'V-235188',
      title: 'hashes by validated cryptographic modules',
      exception: 'the cryptography of clients and verifier is no validated module, and the README says so',
      controls: ['host.fips'],
    },
    {
      id: 'V-235191',
      title: 'certificates of the approved authority alone',
      controls: ['network.mutual-authentication', 'network.server-identity'],
    },
    {
      id: 'V-235192',
      title: 'information at rest cannot be changed unseen',
      controls: ['audit.state', 'audit.signatures'],
    },
    {
      id: 'V-235193',
      title: 'information at rest cannot be read',
      controls: ['data.ciphertext-only', 'data.canary-absent'],
    },
  ],
}
