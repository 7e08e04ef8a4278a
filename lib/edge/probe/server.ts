/** Files, processes and databases of the server, for the questions of outside baselines. */
import { existsSync, readFileSync } from 'node:fs'
import type { Json } from '../../core/controls/control.ts'
import { hostRecordPath, parseHostRecord } from '../../core/host/record.ts'
import { notApplicable, type Probe } from './probe.ts'
import { observeFiles, placesOf } from './server_files.ts'
import { observeProcesses } from './server_process.ts'

/** As vm_oneclick sets it up. */
const serverUser = 'mysql'
const noHost = 'this machine was not set up as a host by vm_oneclick'
const notOnHost = 'the collector is not root on the database host'

export const serverProbes: Probe[] = [
  {
    id: 'files',
    grade: 'host',
    identity: () => 'root on the host',
    command: () =>
      'stat -L the files of the server; grep -c password, allow-suspicious-udfs in its option files',
    run: async ({ root }) => {
      if (!existsSync(hostRecordPath)) return notApplicable(noHost)
      if (root === undefined) return notApplicable(notOnHost)
      const { confDir } = parseHostRecord(readFileSync(hostRecordPath), hostRecordPath)
      return { ...observeFiles(await placesOf(root, serverUser, confDir)) } as Json
    },
  },
  {
    id: 'process',
    grade: 'host',
    identity: () => 'root on the host',
    command: () =>
      `cat /proc/$(pidof mysqld)/status; getent passwd ${serverUser}; grep -l MYSQL_PWD /proc/*/environ, profiles; stat ~/.mysql_history of every home`,
    run: async () => {
      if (!existsSync(hostRecordPath)) return notApplicable(noHost)
      if (process.geteuid?.() !== 0) return notApplicable(notOnHost)
      return { ...observeProcesses(serverUser) } as Json
    },
  },
  {
    id: 'databases',
    grade: 'host',
    identity: () => 'root by the local socket',
    command: () => 'SHOW DATABASES',
    run: async ({ root }) => {
      if (root === undefined) return notApplicable(notOnHost)
      const rows = await root.query('SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA ORDER BY 1')
      return { databases: rows.map(({ name }) => String(name)) }
    },
  },
]
