/** What the host says about itself. Its word, graded so: root can make it say anything. */
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { random, toHex } from '../../core/bytes.ts'
import type { Json } from '../../core/controls/control.ts'
import { ZtError } from '../../core/errors.ts'
import { hostRecordPath } from '../../core/host/record.ts'
import { scanArfName, scanFolder, scanResultsName, summaryName } from '../../core/openscap.ts'
import { settingsFor } from '../../core/settings.ts'
import { onExit } from '../cleanup.ts'
import type { Connection } from '../mysql.ts'
import { readScan } from '../openscap_kept.ts'
import { observeSettings } from '../server_settings.ts'
import { machineProbes } from './machine.ts'
import { attempt, notApplicable, type Probe, type ProbeContext } from './probe.ts'
import { serverProbes } from './server.ts'

const onSocket = (): string => 'root by the local socket'
const onHost = (): string => 'root on the host'

function asRoot(run: (root: Connection, context: ProbeContext) => Promise<Json>): Probe['run'] {
  return async context =>
    context.root === undefined
      ? notApplicable('the collector is not root on the database host')
      : run(context.root, context)
}

const text = (value: unknown): string => (typeof value === 'string' ? value : String(value ?? ''))

async function accounts(root: Connection): Promise<Json> {
  const rows = await root.query(
    `SELECT user, host, CAST(ssl_type AS CHAR) AS ssl_type, CONVERT(x509_subject USING utf8mb4) AS x509_subject,
            CONVERT(x509_issuer USING utf8mb4) AS x509_issuer, plugin, account_locked = 'Y' AS locked,
            COALESCE(authentication_string, '') <> '' AS has_secret
       FROM mysql.user ORDER BY user, host`,
  )
  return rows.map(row => ({
    user: text(row.user),
    host: text(row.host),
    ssl_type: text(row.ssl_type),
    x509_subject: text(row.x509_subject),
    x509_issuer: text(row.x509_issuer),
    plugin: text(row.plugin),
    locked: Number(row.locked) === 1,
    has_secret: Number(row.has_secret) === 1,
  }))
}

async function* filesBelow(dir: string): AsyncGenerator<string> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    if (entry.isDirectory()) yield* filesBelow(path)
    else if (entry.isFile()) yield path
  }
}

/** Whether a file holds the bytes, also across the chunks that it is read in. */
async function holds(path: string, needle: Buffer): Promise<boolean> {
  let tail = Buffer.alloc(0)
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    const window = Buffer.concat([tail, chunk as Buffer])
    if (window.includes(needle)) return true
    tail = window.subarray(Math.max(0, window.length - needle.length + 1))
  }
  return false
}

/** Seeks the canary, and beside it a text that is really there: a search that finds nothing must be able to find. */
async function seekCanary(root: Connection, canary: string): Promise<Json> {
  const [dirs] = await root.query(
    'SELECT @@datadir AS datadir, @@tmpdir AS tmpdir, @@log_bin_basename AS binlog',
  )
  const tmp = mkdtempSync(join(text(dirs?.tmpdir), 'zt-canary-'))
  const remove = () => rmSync(tmp, { recursive: true, force: true })
  const forget = onExit(remove)
  const control = toHex(random(16))
  const places = new Set([text(dirs?.datadir), tmp, join(text(dirs?.binlog), '..')])
  const found: string[] = []
  let [controlFound, files] = [false, 0]
  try {
    await writeFile(join(tmp, 'control'), `${toHex(random(64))}${control}`)
    await root.run('FLUSH BINARY LOGS')
    for (const place of places)
      for await (const path of filesBelow(place)) {
        files++
        if (await holds(path, Buffer.from(canary))) found.push(path)
        if (path.startsWith(tmp)) controlFound = await holds(path, Buffer.from(control))
      }
  } finally {
    forget()
    remove()
  }
  return { places: [...places], files, control_found: controlFound, found }
}

export const hostProbes: Probe[] = [
  {
    id: 'settings',
    grade: 'host',
    identity: onSocket,
    command: () => 'SELECT … FROM performance_schema.global_variables',
    run: asRoot(async (root, { install }) => {
      if (install === undefined) return notApplicable('no --conf-dir and --tls-dir were given')
      const input = {
        tlsDir: install.tlsDir,
        initFile: join(install.confDir, 'zero-trust-init.sql'),
        bindAddress: install.bindAddress,
        // a host of vm_oneclick has settings that need more than a server
        ...(existsSync(hostRecordPath) ? { host: true } : {}),
      }
      const observed = await observeSettings(root, settingsFor(input))
      return { input, variables: Object.fromEntries(observed) }
    }),
  },
  {
    id: 'accounts',
    grade: 'host',
    identity: onSocket,
    command: () =>
      'SELECT user, host, ssl_type, x509_subject, x509_issuer, plugin, account_locked FROM mysql.user',
    run: asRoot(accounts),
  },
  {
    id: 'rights',
    grade: 'host',
    identity: onSocket,
    command: () => 'CALL securedb.schema_snapshot(), rows of kind server.grant',
    run: asRoot(async root => {
      const [rows] = await root.call('securedb.schema_snapshot')
      return (rows ?? [])
        .filter(row => row.kind === 'server.grant')
        .map(row => ({ account: text(row.name), rights: text(row.definition).split('\n') }))
    }),
  },
  {
    id: 'append_only',
    grade: 'host',
    identity: onSocket,
    command: () => 'UPDATE securedb.audit_events …; DELETE FROM securedb.audit_events … (rolled back)',
    run: asRoot(async root => {
      await root.run('START TRANSACTION')
      try {
        return {
          attempts: {
            update: await attempt(() =>
              root.run('UPDATE securedb.audit_events SET payload = payload WHERE seq = 0'),
            ),
            delete: await attempt(() => root.run('DELETE FROM securedb.audit_events WHERE seq = 0')),
          },
        }
      } finally {
        await root.run('ROLLBACK')
      }
    }),
  },
  {
    id: 'canary',
    grade: 'host',
    identity: onHost,
    command: () => 'grep -rF CANARY in the data directory, binary logs and temporary files',
    run: asRoot(async (root, { canary }) =>
      canary === undefined ? notApplicable('no --canary was given') : seekCanary(root, canary),
    ),
  },
  ...machineProbes,
  ...serverProbes,
  {
    id: 'confinement',
    grade: 'host',
    identity: onHost,
    command: () => 'cat /proc/$(cat PID_FILE)/attr/current',
    run: asRoot(async root => {
      if (!existsSync('/sys/kernel/security/apparmor') && !existsSync('/sys/fs/selinux/enforce'))
        return notApplicable('the kernel runs neither AppArmor nor SELinux')
      const [row] = await root.query('SELECT @@pid_file AS pid_file')
      const pid = readFileSync(text(row?.pid_file), 'utf8').trim()
      if (!/^[0-9]+$/.test(pid)) throw new ZtError('BAD_FORMAT', 'the pid file of mysqld holds no number')
      return { label: readFileSync(`/proc/${pid}/attr/current`, 'utf8').trim() }
    }),
  },
  {
    id: 'fips',
    grade: 'host',
    identity: onHost,
    command: () => 'cat /proc/sys/crypto/fips_enabled',
    run: async () => {
      const path = '/proc/sys/crypto/fips_enabled'
      return existsSync(path)
        ? { enabled: readFileSync(path, 'utf8').trim() }
        : notApplicable('this kernel has no FIPS mode')
    },
  },
  {
    id: 'scan',
    grade: 'host',
    identity: onHost,
    command: () =>
      `cat ${join(scanFolder, summaryName)} ${join(scanFolder, scanArfName)}, which openscap_scan wrote`,
    run: async ({ attach }) => {
      if (process.geteuid?.() !== 0) return notApplicable('the collector is not root on the database host')
      if (!existsSync(join(scanFolder, summaryName))) return notApplicable('no OpenSCAP scan was run')
      const { summary, testResult } = readScan(scanFolder)
      attach(scanResultsName, testResult)
      return { ...summary }
    },
  },
]
