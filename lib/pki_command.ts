/** What the commands of outside_pki do, between their options and the PKI folder. */
import { resolve } from 'node:path'
import { print, say, yellow } from './cli.ts'
import { ZtError } from './core/errors.ts'
import { formatPkiList, listPki } from './core/pki_list.ts'
import type { PkiState } from './core/pki_state.ts'
import { formatTime } from './core/time.ts'
import { issueAccount, renewAccount } from './edge/pki/accounts.ts'
import { beginRollover, finishRollover } from './edge/pki/authorities.ts'
import type { Draft } from './edge/pki/draft.ts'
import { issueLogHost } from './edge/pki/log_host.ts'
import { revoke } from './edge/pki/revocations.ts'
import { renewServer, requireName } from './edge/pki/server.ts'
import { addKem, addKmsKey, addTenant, retireTenant } from './edge/pki/tenants.ts'
import {
  changePki,
  createPki,
  defaults,
  isPki,
  type Outcome,
  readPki,
  renewAll,
  renewProbes,
  rewritePki,
} from './edge/pki.ts'
import { readPassphrase } from './edge/prompt.ts'

export interface GlobalOptions {
  dir: string
  passphraseFile?: string
  dryRun?: boolean
  json?: boolean
}

interface Options extends GlobalOptions {
  account?: string
  all?: boolean
  client?: string
  csr?: string
  days?: number
  finish?: boolean
  host?: string
  kmsKey?: string[]
  originHost?: string
  port?: number
  probesDir?: string
  retire?: boolean
  role?: 'auditor' | 'administrator'
  serial?: string
  serverName?: string[]
  tenant?: string
  yes?: boolean
}

type Act = (draft: Draft, options: Options, args: string[]) => void | Promise<void>

const usage = (message: string, hint: string) => new ZtError('USAGE', message, { hint })

/** Everything that asks for the CA's key. */
const signed = {
  issue: (draft, { tenant, role, csr, days }, [account = '']) => {
    if ((tenant === undefined) === (role === undefined))
      throw usage('expected either --tenant or --role', `outside_pki issue ${account} --tenant LABEL`)
    return issueAccount(draft, account, { role: role ?? 'app', tenant }, { csr, days })
  },
  renew: async (draft, { all, csr, days, serverName }, [name]) => {
    if ((name === undefined) !== (all === true))
      throw usage('expected a name, or --all', 'outside_pki renew server')
    if (serverName !== undefined && name !== 'server')
      throw usage('--server-name is for the server alone', 'outside_pki renew server --server-name NAME')
    if (name === undefined) return renewAll(draft)
    if (name !== 'server') return renewAccount(draft, name, { csr, days })
    if (csr !== undefined) throw usage('--csr: the key of the server is made here', 'leave --csr out')
    return renewServer(draft, { days, names: serverName ?? [] })
  },
  revoke: (draft, { serial, retire }, [name = '']) =>
    revoke(draft, name, { serial, retire: retire === true }),
  tenantAdd: (draft, { kmsKey }, [label = '']) => addTenant(draft, label, { kmsKeys: kmsKey ?? [] }),
  tenantRetire: (draft, _, [label = '']) => retireTenant(draft, label),
  tenantKmsKey: (draft, _, [label = '', uri = '']) => addKmsKey(draft, label, uri),
  tenantKem: (draft, _, [label = '', file = '']) => addKem(draft, label, file),
  crl: draft => {
    draft.crlIsStale = true
    draft.changes.push('CRL: signed anew')
  },
  probes: renewProbes,
  rollover: (draft, { finish }) => (finish === true ? finishRollover(draft) : beginRollover(draft)),
} satisfies Record<string, Act>

const unsigned = {
  serverArchive: () => undefined,
  logHost: (draft, { client }, [name = '']) =>
    issueLogHost(draft, name, client ?? draft.state.serverNames[0] ?? ''),
  clientCnf: (draft, { host, port }) => {
    if (host !== undefined) requireName(draft, host)
    Object.assign(draft.state, { host: host ?? draft.state.host, port: checkPort(port) ?? draft.state.port })
  },
} satisfies Record<string, Act>

export type Change = keyof typeof signed | keyof typeof unsigned

const isSigned = (change: Change): change is keyof typeof signed => Object.hasOwn(signed, change)

function checkPort(port: number | undefined): number | undefined {
  if (port !== undefined && port > 65_535)
    throw new ZtError('BAD_INPUT', `--port: ${port} is above 65535`, {
      hint: 'choose a port from 1 to 65535',
    })
  return port
}

/** The outcome for a person or, with --json, for a program; never a secret. */
function tell(dir: string, { changes, state }: Outcome, { json, dryRun }: GlobalOptions): void {
  if (json === true) {
    const caSha256 = state.authorities.map(ca => ca.sha256)
    print(
      JSON.stringify({ dir: resolve(dir), origin: state.origin, caSha256, dryRun: dryRun === true, changes }),
    )
    return
  }
  for (const line of changes) print(dryRun === true ? `would do: ${line}` : line)
  if (changes.length === 0) print(`${dir}: nothing changed: all of that is there already`)
}

export async function runChange(
  options: Options,
  args: (string | undefined)[],
  change: Change,
  irreversible: boolean,
): Promise<void> {
  const { dir } = options
  const given = args.filter(arg => arg !== undefined)
  readPki(dir) // a wrong folder is told before a passphrase is asked for
  if (!isSigned(change)) {
    const dryRun = options.dryRun === true
    tell(dir, await rewritePki(dir, { dryRun }, draft => unsigned[change](draft, options, given)), options)
    return
  }
  const mustAsk = (irreversible || options.finish === true) && options.yes !== true
  const dryRun = options.dryRun === true || mustAsk
  const passphrase = await readPassphrase({
    file: options.passphraseFile,
    prompt: 'Passphrase of the CA key',
  })
  const act: Act = signed[change]
  const outcome = await changePki(dir, { passphrase, dryRun }, draft => act(draft, options, given))
  tell(dir, outcome, { ...options, dryRun })
  if (mustAsk && options.dryRun !== true && outcome.changes.length > 0)
    throw usage(
      'nothing was done: this cannot be undone',
      'read the plan above, then run it again with --yes',
    )
}

/** What was asked for is there already, or else a person expects something that a second run does not do. */
function checkSame(state: PkiState, options: Options): void {
  const { serverName = [], host, port, tenant, account, kmsKey = [] } = options
  const named = state.tenants.find(t => t.label === tenant)
  const differs = serverName.some(name => !state.serverNames.includes(name))
    ? 'outside_pki renew server --server-name NAME'
    : (host ?? state.host) !== state.host || (port ?? state.port) !== state.port
      ? 'outside_pki client-cnf --host NAME --port N'
      : tenant !== undefined && named === undefined
        ? `outside_pki tenant add ${tenant}`
        : account !== undefined && !state.accounts.some(a => a.account === account)
          ? `outside_pki issue ${account} --tenant LABEL`
          : kmsKey.some(key => !state.tenants.some(t => t.kmsKeys.includes(key)))
            ? 'outside_pki tenant kms-key LABEL URI'
            : undefined
  if (differs !== undefined)
    throw new ZtError('CONFLICT', `${options.dir}: exists, and is not what these options ask for`, {
      hint: differs,
    })
}

export async function runInit(options: Options): Promise<void> {
  const { dir } = options
  if (isPki(dir)) {
    const state = readPki(dir)
    checkSame(state, options)
    tell(dir, { changes: [], state }, options)
    return
  }
  const passphrase = await readPassphrase({
    file: options.passphraseFile,
    prompt: 'New passphrase for the CA key',
    isNew: true,
  })
  const port = checkPort(options.port)
  const outcome = await createPki(dir, {
    passphrase,
    dryRun: options.dryRun === true,
    serverNames: options.serverName ?? [],
    tenants: [
      {
        label: options.tenant ?? defaults.tenant,
        account: options.account ?? defaults.account,
        kmsKeys: options.kmsKey ?? [],
      },
    ],
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(port === undefined ? {} : { port }),
    ...(options.originHost === undefined ? {} : { originHost: options.originHost }),
    ...(options.probesDir === undefined ? {} : { probesDir: options.probesDir }),
  })
  tell(dir, outcome, options)
  if (options.dryRun === true || options.json === true) return
  const { state } = outcome
  say('next:')
  say(`  copy ${dir}/pki_server.tar.gz to the database host: sudo PKI_TAR=pki_server.tar.gz ./vm_oneclick`)
  say(`  unpack ${dir}/pki_probes.tar.gz on that host in ${state.probesDir}, for proof_suite`)
  if (options.serverName === undefined)
    say(`  without --server-name the server is ${state.host}:${state.port}, for trials on one machine`)
  say(`  hand ${dir}/clients/ to the applications and ${dir}/trust/ to the auditors, with the pin of the CA:`)
  say(`  ${state.authorities[0]?.sha256 ?? ''}`)
}

export function runList(options: GlobalOptions & { all?: boolean; check?: boolean }): void {
  const list = listPki(readPki(options.dir), formatTime(Date.now() * 1000))
  print(options.json === true ? JSON.stringify(list) : formatPkiList(list, options.all === true))
  for (const warning of list.warnings) say(`${yellow('warning', process.stderr)}: ${warning}`)
  if (options.check === true && list.warnings.length > 0)
    throw new ZtError('VERIFY_FAILED', `${list.warnings.length} things want attention`, {
      hint: 'see the warnings',
    })
}
