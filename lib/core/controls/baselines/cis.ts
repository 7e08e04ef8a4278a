import type { HostFact } from '../host_facts.ts'
import type { Baseline, BaselineRow } from './baseline.ts'

const setUp: BaselineRow[] = [
  { id: '1.2', title: 'mysqld runs as an account of its own with few rights', facts: ['own-account'] },
  { id: '1.3', title: 'no history of the command line client is kept', facts: ['no-history'] },
  { id: '1.4', title: 'MYSQL_PWD is used nowhere', facts: ['password-in-processes'] },
  { id: '1.5', title: 'the account of mysqld cannot log in', facts: ['no-log-in'] },
  { id: '1.6', title: 'MYSQL_PWD is in no profile', facts: ['password-in-profiles'] },
  {
    id: '2.1.4',
    title: 'recovery to a point in time',
  },
  { id: '2.2.1', title: 'the binary log is encrypted' },
  { id: '2.7', title: 'passwords live a year at most' },
  {
    id: '2.8',
    title: 'an old password does not come back',
  },
  { id: '2.9', title: 'a new password asks for the current one' },
  { id: '2.12', title: 'AES_ENCRYPT defaults to 256 bits and no ECB' },
  { id: '2.14', title: 'the server listens where it was told to' },
  {
    id: '2.15',
    title: 'TLS 1.2 or newer',
    controls: ['network.tls-1.3'],
  },
  {
    id: '2.16',
    title: 'remote accounts present a certificate',
    controls: ['network.mutual-authentication', 'identity.accounts-bound'],
  },
  {
    id: '2.17',
    title: 'approved cipher suites alone',
    controls: ['network.suites'],
  },
  {
    id: '2.18',
    title: 'log-in attempts are limited',
    exception:
      'a lock-out would let anyone who reaches the port shut a tenant out; passwords are random and stand beside a certificate; fail2ban watches refused log-ins',
    controls: ['host.intrusion'],
  },
]

const ofFiles: [id: string, what: string, fact: HostFact][] = [
  ['3.1', 'the data directory', 'data-folder'],
  ['3.2', 'binary logs', 'binary-logs'],
  ['3.3', 'the error log', 'error-log'],
  ['3.4', 'the slow log', 'slow-log'],
  ['3.5', 'relay logs', 'relay-logs'],
  ['3.6', 'the general log', 'general-log'],
  ['3.7', 'key files', 'key-files'],
  ['3.8', 'the folder of plug-ins', 'plug-ins'],
]

const files: BaselineRow[] = ofFiles.map(([id, what, fact]) => ({
  id,
  title: `owner and mode of ${what}`,
  facts: [fact],
}))

const general: BaselineRow[] = [
  {
    id: '4.2',
    title: 'no sample databases',
    facts: ['sample-databases'],
  },
  {
    id: '4.3',
    title: 'functions come from libraries made for it',
    facts: ['strange-functions'],
  },
  { id: '4.4', title: 'the server asks no client for its files' },
  {
    id: '4.5',
    title: 'the server was not started without its grant tables',
    controls: ['identity.certificate-binding', 'network.mutual-authentication'],
  },
  { id: '4.6', title: 'no table outside the data directory' },
  { id: '4.7', title: 'SQL reads and writes no file' },
  { id: '4.8', title: 'a value that does not fit is an error' },
  { id: '4.9', title: 'encryption at rest by the server' },
]

const rights: BaselineRow[] = [
  ['5.1', 'mysql.*, and all rights'],
  ['5.2', 'FILE'],
  ['5.3', 'PROCESS'],
  ['5.4', 'SUPER'],
  ['5.5', 'SHUTDOWN'],
  ['5.6', 'CREATE USER'],
  ['5.7', 'GRANT OPTION'],
  ['5.8', 'REPLICATION SLAVE'],
].map(([id = '', what]) => ({
  id,
  title: `nobody but administrators holds ${what}`,
  controls: ['identity.rights'],
}))

const definers: BaselineRow[] = [
  {
    id: '5.9',
    title: 'DML and DDL are limited to those who need them',
    controls: ['identity.rights', 'writes.procedures-only'],
  },
  {
    id: '5.10',
    title: 'routines with a definer are secure',
    exception:
      'api_definer owns every routine, view, trigger and event, so that applications hold no right on a table; it cannot log in; each definer stands in the golden fingerprint',
    controls: ['audit.schema'],
  },
  { id: '5.11', title: 'SET_ANY_DEFINER is held by nobody', controls: ['identity.rights'] },
  { id: '5.12', title: 'ALLOW_NONEXISTENT_DEFINER is held by nobody', controls: ['identity.rights'] },
]

const rest: BaselineRow[] = [
  { id: '6.1', title: 'the error log is written to a file of its own' },
  {
    id: '6.2',
    title: 'verbosity of the error log',
    exception: 'CIS asks for 2, at which a refused log-in leaves no line for anyone to act on; 3 is set',
  },
  { id: '6.4', title: 'passwords are written to no log' },
  { id: '7.1', title: 'the default method salts and stretches' },
  {
    id: '7.2',
    title: 'no password in a configuration file that others read',
    facts: ['passwords-in-options'],
  },
  { id: '7.3', title: 'every account has a password', accounts: 'without-secret' },
  { id: '7.4', title: 'validate_password asks for 14 characters, STRONG' },
  { id: '7.5', title: 'no account without a restriction on where it comes from', accounts: 'any-host' },
  {
    id: '7.6',
    title: 'no wildcard in the host part of an account',
    accounts: 'any-host',
  },
  { id: '7.7', title: 'there is no anonymous account', accounts: 'anonymous' },
  {
    id: '8.1',
    title: 'connections are encrypted or refused',
    controls: ['network.tls-enforced'],
  },
  {
    id: '8.2',
    title: 'remote accounts are bound to a certificate',
    controls: ['identity.certificate-binding', 'identity.accounts-bound', 'network.mutual-authentication'],
  },
  {
    id: '8.3',
    title: 'connections are limited',
  },
]

/** The 8.4 and the 9.7 benchmark number the rows that are listed here alike. */
export const cis: Baseline = {
  id: 'cis-mysql-8.4-9.7',
  title: 'CIS MySQL 8.4 v1.1, 9.7 v1.0',
  settingsAs: id => `CIS ${id}`,
  source: 'https://www.cisecurity.org/benchmark/oracle_mysql',
  rows: [...setUp, ...files, ...general, ...rights, ...definers, ...rest],
}
