import type { Baseline } from './baseline.ts'

export const devSec: Baseline = {
  id: 'dev-sec-mysql-5.1',
  title: 'dev-sec mysql-baseline 5.1',
  settingsAs: id => id.replace('mysql-', 'dev-sec '),
  source: 'https://github.com/dev-sec/mysql-baseline',
  rows: [
    {
      id: 'mysql-conf-02',
      title: 'only one mysqld runs on the host',
      facts: ['one-server'],
    },
    {
      id: 'mysql-conf-03',
      title: 'safe options: safe-user-create, local-infile, secure-file-priv, symbolic links, mysqld’s user',
      facts: ['own-account'],
    },
    { id: 'mysql-conf-04', title: 'owner and mode of the data directory', facts: ['data-folder'] },
    { id: 'mysql-conf-05', title: 'owner and mode of ibdata1', facts: ['system-tablespace'] },
    { id: 'mysql-conf-06', title: 'owner and mode of the log file', facts: ['error-log'] },
    { id: 'mysql-conf-07', title: 'owner and mode of my.cnf', facts: ['option-file'] },
    { id: 'mysql-conf-08', title: 'owner and mode of conf.d', facts: ['option-folders'] },
    {
      id: 'mysql-conf-09',
      title: 'MYSQL_PWD is set nowhere',
      facts: ['password-in-processes', 'password-in-profiles'],
    },
    {
      id: 'mysql-db-03',
      title: 'there is no test database',
      facts: ['sample-databases'],
    },
    { id: 'mysql-db-04', title: 'there is no anonymous account', accounts: 'anonymous' },
    {
      id: 'mysql-db-05',
      title: 'no account is without an authentication string',
      accounts: 'without-secret',
    },
    { id: 'mysql-db-06', title: 'nobody but root may grant', controls: ['identity.rights'] },
    { id: 'mysql-db-07', title: 'no account may come from any host', accounts: 'any-host' },
    { id: 'mysql-db-08', title: 'root comes from this host alone', accounts: 'remote-root' },
  ],
}
