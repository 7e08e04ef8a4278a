/**
 * A release of the day before: today's sources in a folder of their own without the last migration and all that stands
 * on it, with a unit of mysqld that lacks a line, under a lower number; its golden schema made by itself, its installer
 * compiled.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { build, targets } from '../../lib/edge/build.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { findMysql } from '../../lib/edge/mysqld_fetch.ts'
import { must } from './host_command.ts'

const root = resolve(import.meta.dir, '../..')

/** What it does not have yet. */
export const missingMigration = '020_create_restore_state'

/** File, what stands there today, what stood there. Each must be found: a change that no longer fits is no older release. */
const edits: [file: string, now: RegExp, then: string][] = [
  ['package.json', /"version": "[0-9.]+"/, '"version": "0.0.9"'],
  ['sql/index.ts', /^import s020 .*\n/m, ''],
  ['sql/index.ts', /^ +\['020_create_restore_state', s020\],\n/m, ''],
  ['sql/index.ts', /import releasedJson from .*\n/, 'const releasedJson: unknown = []\n'],
  [
    'sql/144_create_anchor_status.sql',
    /r\.number AS restored_number, .* r\.base_root,/,
    'NULL AS restored_number, NULL AS restored_sha256, NULL AS lost_size, NULL AS restored_size, NULL AS base_size, NULL AS base_root,',
  ],
  ['sql/144_create_anchor_status.sql', / LEFT JOIN restore_state r ON r\.id = 1/, ''],
  ['lib/core/sqlgen/grants.ts', /^ +'restore_state',\n/m, ''],
  ['lib/core/host/backup.ts', /^ +'restore_state',\n/m, ''],
  ['lib/core/host/mysqld.ts', /^RemoveIPC=yes\n/m, ''],
]

export interface OlderRelease {
  version: string
  /** Of its schema, hex. */
  fingerprint: string
  /** Path of its vm_oneclick. */
  oneclick: string
}

async function make(): Promise<OlderRelease> {
  const folder = mkdtempSync(join(tmpdir(), 'zt-older-'))
  onExit(() => rmSync(folder, { recursive: true, force: true }))
  const at = (name: string) => join(folder, name)
  for (const name of ['lib', 'sql', 'vm', 'scripts', 'package.json', 'tsconfig.json', 'bun.lock'])
    cpSync(join(root, name), at(name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), at('node_modules'))
  for (const [name, now, then] of edits) {
    const text = readFileSync(at(name), 'utf8')
    if (!now.test(text)) throw new Error(`older release: ${name} has nothing like ${now}`)
    writeFileSync(at(name), text.replace(now, then))
  }
  rmSync(at(`sql/${missingMigration}.sql`))
  const { mysqld } = await findMysql()
  await must([process.execPath, at('scripts/golden.ts')], { env: { MYSQLD: mysqld, ZT_CACHE: at('.cache') } })
  await build({ root: folder, targets, say: () => undefined }, ['vm_oneclick'])
  const { fingerprint } = JSON.parse(readFileSync(at('sql/golden.json'), 'utf8')) as { fingerprint: string }
  return { version: '0.0.9', fingerprint, oneclick: at('dist/vm_oneclick') }
}

let made: Promise<OlderRelease> | undefined

/** Made once a test run, in half a minute. */
export function olderRelease(): Promise<OlderRelease> {
  made ??= make()
  return made
}
