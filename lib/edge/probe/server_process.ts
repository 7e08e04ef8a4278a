/** Who the server runs as, and whether a password or a history lies about on the host. */
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessSeen } from '../../core/proof/server_facts.ts'
import { errno } from '../file_error.ts'
import { namesIn } from './server_files.ts'

interface Process {
  pid: number
  command: string
  users: number[]
  capabilities: string
  hasPassword: boolean
}

function processAt(proc: string, pid: number): Process | undefined {
  try {
    const of = (name: string): string => readFileSync(join(proc, String(pid), name), 'utf8')
    const status = of('status')
    const field = (name: string): string => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? ''
    return {
      pid,
      command: of('comm').trim(),
      users: field('Uid').split(/\s+/).map(Number),
      capabilities: field('CapEff'),
      hasPassword: of('environ')
        .split('\0')
        .some(variable => variable.startsWith('MYSQL_PWD=')),
    }
  } catch (thrown) {
    if (['ENOENT', 'ESRCH'].includes(errno(thrown) ?? '')) return undefined // it ended meanwhile
    throw thrown
  }
}

interface Account {
  user: string
  home: string
  shell: string
}

const accountsIn = (etc: string): Account[] =>
  readFileSync(join(etc, 'passwd'), 'utf8')
    .split('\n')
    .flatMap(line => {
      const [user = '', , , , , home = '', shell = ''] = line.split(':')
      return user === '' ? [] : [{ user, home, shell }]
    })

const read = (path: string): string =>
  lstatSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path, 'utf8') : ''

const profileNames = ['.bashrc', '.profile', '.bash_profile', '.bash_login', '.zshrc', '.zprofile']
const setsPassword = /^[^#\n]*\bMYSQL_PWD\s*=/m

function profiles(etc: string, homes: string[]): string[] {
  const folder = join(etc, 'profile.d')
  const shared = ['profile', 'environment', 'bash.bashrc', 'default/mysql'].map(name => join(etc, name))
  const parts = lstatSync(folder, { throwIfNoEntry: false })
    ? readdirSync(folder).map(name => join(folder, name))
    : []
  const own = homes.flatMap(home => profileNames.map(name => join(home, name)))
  return [...shared, ...parts, ...own].filter(path => setsPassword.test(read(path))).sort()
}

function histories(homes: string[]): ProcessSeen['histories'] {
  return homes.flatMap(home =>
    ['.mysql_history', '.mysqlsh/history.sql'].flatMap(name => {
      const path = join(home, name)
      const stats = lstatSync(path, { throwIfNoEntry: false })
      if (stats === undefined) return []
      const kind = stats.isSymbolicLink() ? 'link' : stats.isFile() ? 'file' : 'other'
      return [{ path, kind, bytes: stats.size } as const]
    }),
  )
}

export function observeProcesses(user: string, { proc = '/proc', etc = '/etc' } = {}): ProcessSeen {
  const names = namesIn(join(etc, 'passwd'))
  const accounts = accountsIn(etc)
  const homes = [...new Set(accounts.map(({ home }) => home))].filter(home => home.length > 1)
  const processes = readdirSync(proc)
    .filter(name => /^\d+$/.test(name))
    .flatMap(name => processAt(proc, Number(name)) ?? [])
  return {
    servers: processes
      .filter(({ command }) => command === 'mysqld' || command === 'mariadbd')
      .map(({ pid, command, users, capabilities }) => ({
        pid,
        users: users.map(id => names.get(id) ?? String(id)),
        capabilities,
        command,
      })),
    account: accounts.find(account => account.user === user) ?? null,
    histories: histories(homes),
    password: {
      processes: processes
        .filter(({ hasPassword }) => hasPassword)
        .map(({ pid, command }) => ({ pid, command })),
      profiles: profiles(etc, homes),
    },
  }
}
