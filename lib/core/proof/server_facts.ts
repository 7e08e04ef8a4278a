/** Files, processes and databases of the server as a probe saw them, against what outside baselines ask. Pure. */
import { z } from 'zod'
import type { Json } from '../controls/control.ts'
import { type FactProbe, factProbes, type HostFact } from '../controls/host_facts.ts'
import { firstIssue } from './outcome.ts'

/** Four octal digits, and the names of owner and group. */
const place = { path: z.string(), mode: z.string().regex(/^[0-7]{4}$/), owner: z.string(), group: z.string() }

/** Files of one kind, mode and owner, of which `path` is the first. */
const fileGroup = z.strictObject({
  kind: z.enum([
    'data-folder',
    'system-tablespace',
    'binary-log',
    'error-log',
    'slow-log',
    'general-log',
    'relay-log',
    'key',
    'plug-in',
    'option-file',
    'option-folder',
  ]),
  ...place,
  count: z.int().positive(),
})
export type FileGroup = z.infer<typeof fileGroup>

const optionFile = z.strictObject({
  ...place,
  /** How many lines set a password; never which. */
  passwords: z.int().nonnegative(),
  /** Lines that load functions which were not made for it. */
  suspicious: z.array(z.string()),
})
export type OptionFile = z.infer<typeof optionFile>

const filesSeen = z.strictObject({
  /** Whose the server's files are to be. */
  user: z.string().min(1),
  files: z.array(fileGroup),
  options: z.array(optionFile),
})
export type FilesSeen = z.infer<typeof filesSeen>

const processSeen = z.strictObject({
  servers: z.array(
    z.strictObject({
      pid: z.int(),
      /** Real, effective, saved and file-system user. */
      users: z.array(z.string()).length(4),
      /** CapEff, hex. */
      capabilities: z.string(),
      command: z.string(),
    }),
  ),
  account: z.strictObject({ user: z.string(), shell: z.string(), home: z.string() }).nullable(),
  /** Of the mysql client, in every home. */
  histories: z.array(
    z.strictObject({ path: z.string(), kind: z.enum(['file', 'link', 'other']), bytes: z.int() }),
  ),
  /** Processes and files that set MYSQL_PWD; never to what. */
  password: z.strictObject({
    processes: z.array(z.strictObject({ pid: z.int(), command: z.string() })),
    profiles: z.array(z.string()),
  }),
})
export type ProcessSeen = z.infer<typeof processSeen>

const databasesSeen = z.strictObject({ databases: z.array(z.string()) })

interface Rule {
  /** `mysqld`: the account of the server. */
  owner: 'mysqld' | 'root'
  groups: ('mysqld' | 'root' | 'adm')[]
  /** Bits that must not be set. */
  without: number
  /** Whether there must be one. */
  needed: boolean
}

const own: Rule = { owner: 'mysqld', groups: ['mysqld'], without: 0o027, needed: true }
const roots: Rule = { owner: 'root', groups: ['root', 'mysqld'], without: 0o027, needed: true }

function faultsOf(kind: FileGroup['kind'], rule: Rule) {
  return ({ user, files }: FilesSeen): string[] => {
    const name = (who: string): string => (who === 'mysqld' ? user : who)
    const these = files.filter(file => file.kind === kind)
    if (these.length === 0) return rule.needed ? [`no ${kind} was seen`] : []
    return these.flatMap(({ path, mode, owner, group, count }) => {
      const good =
        owner === name(rule.owner) &&
        rule.groups.map(name).includes(group) &&
        (Number.parseInt(mode, 8) & rule.without) === 0
      return good ? [] : [`${path}${count > 1 ? ` and ${count - 1} more` : ''}: ${mode} ${owner}:${group}`]
    })
  }
}

/** Example databases of the manual, and the one that old installers made for tests. */
const samples = /^(?:test|test_.*|sakila|world|world_x|employees|menagerie|airportdb)$/i
const shells = ['/bin/false', '/usr/bin/false', '/sbin/nologin', '/usr/sbin/nologin']

type Answers<Probe extends FactProbe, Seen> = Record<
  (typeof factProbes)[Probe][number],
  (seen: Seen) => string[]
>

const ofFiles: Answers<'files', FilesSeen> = {
  'data-folder': faultsOf('data-folder', own),
  'system-tablespace': faultsOf('system-tablespace', own),
  'binary-logs': faultsOf('binary-log', own),
  'error-log': faultsOf('error-log', { ...own, groups: ['mysqld', 'adm'] }),
  'slow-log': faultsOf('slow-log', { ...own, groups: ['mysqld', 'adm'], needed: false }),
  'general-log': faultsOf('general-log', { ...own, groups: ['mysqld', 'adm'], needed: false }),
  'relay-logs': faultsOf('relay-log', { ...own, needed: false }),
  'key-files': faultsOf('key', { ...own, without: 0o077 }),
  'plug-ins': faultsOf('plug-in', { ...roots, without: 0o022 }),
  'option-file': faultsOf('option-file', roots),
  'option-folders': faultsOf('option-folder', roots),
  'passwords-in-options': ({ options, user }) =>
    options
      .filter(({ passwords, mode, group }) => {
        const bits = Number.parseInt(mode, 8)
        const byGroup = (bits & 0o040) !== 0 && !['root', user].includes(group)
        return passwords > 0 && ((bits & 0o004) !== 0 || byGroup)
      })
      .map(({ path, mode, owner, group }) => `${path}: a password, ${mode} ${owner}:${group}`),
  'strange-functions': ({ options }) =>
    options.flatMap(({ path, suspicious }) => suspicious.map(line => `${path}: ${line}`)),
}

const ofProcess: Answers<'process', ProcessSeen> = {
  'one-server': ({ servers }) =>
    servers.length === 1 ? [] : [`${servers.length} servers run: ${servers.map(s => s.pid).join(', ')}`],
  'own-account': ({ servers, account }) => [
    ...(servers.length === 0 ? ['no server was seen'] : []),
    ...servers
      .filter(
        ({ users }) =>
          account === null || users.some(user => user !== account.user) || users.includes('root'),
      )
      .map(({ pid, users }) => `process ${pid} runs as ${[...new Set(users)].join(', ')}`),
    ...servers
      .filter(({ capabilities }) => !/^0+$/.test(capabilities))
      .map(({ pid, capabilities }) => `process ${pid} holds capabilities ${capabilities}`),
  ],
  'no-log-in': ({ account }) => {
    if (account === null) return ['the account of the server was not seen']
    return shells.includes(account.shell) ? [] : [`${account.user} has the shell ${account.shell}`]
  },
  'no-history': ({ histories }) =>
    histories
      .filter(({ kind, bytes }) => kind !== 'link' && bytes > 0)
      .map(({ path, bytes }) => `${path}: ${bytes} bytes`),
  'password-in-processes': ({ password }) =>
    password.processes.map(({ pid, command }) => `process ${pid} (${command})`),
  'password-in-profiles': ({ password }) => password.profiles,
}

const ofDatabases: Answers<'databases', z.infer<typeof databasesSeen>> = {
  'sample-databases': ({ databases }) =>
    databases.includes('mysql') ? databases.filter(name => samples.test(name)) : ['the list is not whole'],
}

function answer<Seen>(
  schema: z.ZodType<Seen>,
  answers: Record<string, (seen: Seen) => string[]>,
  fact: HostFact,
  result: Json,
): string[] {
  const parsed = schema.safeParse(result)
  if (!parsed.success)
    return [`the observation has another shape than its probe makes: ${firstIssue(parsed.error)}`]
  return answers[fact]?.(parsed.data) ?? [`nothing answers ${fact}`]
}

/** The probe that answers a question. */
export const probeOf = (fact: HostFact): FactProbe => {
  const found = (Object.keys(factProbes) as FactProbe[]).find(probe =>
    (factProbes[probe] as readonly string[]).includes(fact),
  )
  return found ?? 'files'
}

/** What is wrong, in words; nothing where all is as asked. */
export function factFaults(fact: HostFact, result: Json): string[] {
  switch (probeOf(fact)) {
    case 'files':
      return answer(filesSeen, ofFiles, fact, result)
    case 'process':
      return answer(processSeen, ofProcess, fact, result)
    case 'databases':
      return answer(databasesSeen, ofDatabases, fact, result)
  }
}

/** All that one probe answers, each fault once. */
export const probeFaults = (probe: FactProbe, result: Json): string[] => [
  ...new Set(factProbes[probe].flatMap(fact => factFaults(fact, result))),
]
