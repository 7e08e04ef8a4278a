/** What every chapter of the demo works with: folders, binaries, tenants, and who plays which part. */
import { join } from 'node:path'
import { random, toHex } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { makePrivateDir, readRegularFile, writeFileAtomic } from '../files.ts'
import { type Mysqld, mysqlClientCommand } from '../mysqld.ts'
import type { MysqldSettings } from '../mysqld_config.ts'
import { Processes } from './processes.ts'
import { expectRun, type Narrator } from './stage.ts'

export interface DemoOptions {
  /** An empty folder of the caller's. */
  dir: string
  keep: boolean
  /** The repository, whose dist/ holds the binaries. */
  root: string
}

export interface DemoTenant {
  label: string
  account: string
  kmsKey: string
  tokenFile: string
  receipts: string
  people: string[]
  /** Its data keys are wrapped for ML-KEM-768 too, in this file. */
  kem?: string
}

export const people = [
  { full_name: 'Ada Example', role: 'customer', email: 'ada@example.org', phone: '+49 30 1234567' },
  { full_name: 'Grace Sample', role: 'customer', email: 'grace@example.org' },
] as const

export class Scene {
  readonly narrator: Narrator
  readonly options: DemoOptions
  readonly server: Mysqld
  readonly processes = new Processes()
  readonly passphrase: string
  readonly tenants: readonly [DemoTenant, DemoTenant]
  readonly #mysql: string[]
  /** host:port of the KMS, once it runs. */
  kms = ''

  private constructor(narrator: Narrator, options: DemoOptions, server: Mysqld, mysql: string[]) {
    this.narrator = narrator
    this.options = options
    this.server = server
    this.#mysql = mysql
    for (const name of ['kms', 'worm', 'receipts', 'probes', 'conf', 'tls', 'anchor'])
      makePrivateDir(this.at(name))
    this.passphrase = this.at('passphrase')
    writeFileAtomic(this.passphrase, `${toHex(random(16))}\n`)
    const kem = this.at('pki', 'clients', 'globex-kem.json')
    this.tenants = [this.#tenant('acme', 'app_user'), { ...this.#tenant('globex', 'globex_app'), kem }]
  }

  static async set(narrator: Narrator, options: DemoOptions, server: Mysqld): Promise<Scene> {
    return new Scene(narrator, options, server, await mysqlClientCommand())
  }

  at(...names: string[]): string {
    return join(this.options.dir, ...names)
  }

  binary(name: string): string {
    return join(this.options.root, 'dist', name)
  }

  #tenant(label: string, account: string): DemoTenant {
    const receipts = this.at('receipts', label)
    makePrivateDir(receipts)
    return {
      label,
      account,
      kmsKey: `gcp-kms-emulator://projects/demo/locations/local/keyRings/zero-trust/cryptoKeys/mysql-${label}`,
      tokenFile: this.at('kms', `${label}.token`),
      receipts,
      people: [],
    }
  }

  /** UUID of a tenant, as the trust folder has it. */
  tenantId(label: string): string {
    const text = readRegularFile(this.at('pki', 'trust', 'tenants.json'), 'tenants', 1 << 24).toString('utf8')
    const { tenants } = JSON.parse(text) as { tenants: { id: string; label: string }[] }
    const found = tenants.find(tenant => tenant.label === label)
    if (!found) throw new ZtError('VERIFY_FAILED', `the trust folder has no tenant ${label}`)
    return found.id
  }

  /** The stock client with an account's option file. */
  mysqlAs(account: string): string[] {
    return [...this.#mysql, `--defaults-file=${this.at('pki', 'clients', `${account}.cnf`)}`]
  }

  pki(...args: string[]) {
    return expectRun([
      this.binary('outside_pki'),
      '--dir',
      this.at('pki'),
      '--passphrase-file',
      this.passphrase,
      ...args,
    ])
  }

  /** The envelope CLI of a tenant, and its way to the KMS. */
  envelope(tenant: DemoTenant, ...args: string[]): [command: string[], env: Record<string, string>] {
    const files = ['--trust', this.at('pki', 'trust'), '--receipts', tenant.receipts]
    const kem = tenant.kem === undefined ? [] : ['--kem', tenant.kem]
    const cnf = this.at('pki', 'clients', `${tenant.account}.cnf`)
    return [
      [this.binary('pq_envelope_cli'), ...args, '--defaults-file', cnf, ...files, ...kem],
      { KMS_EMULATOR_HOST: this.kms, KMS_EMULATOR_TOKEN_FILE: tenant.tokenFile },
    ]
  }

  get installFlags(): string[] {
    return [
      '--layer',
      'database',
      '--socket',
      this.server.socket,
      '--conf-dir',
      this.at('conf'),
      '--tls-dir',
      this.at('tls'),
      '--anchor-dir',
      this.at('anchor'),
    ]
  }

  /** What mysqld reads once it is installed. */
  get settings(): MysqldSettings {
    return { config: `!include ${this.at('conf', 'zero-trust.cnf')}` }
  }

  anchorHead(...args: string[]): [command: string[], env: Record<string, string>] {
    const flags = [
      '--user',
      'root',
      '--worm',
      this.at('worm'),
      '--state',
      this.at('anchor'),
      '--syslog',
      'none',
    ]
    return [[this.binary('anchor_head'), ...args, ...flags], { MYSQL_SOCKET: this.server.socket }]
  }

  /** The auditor's folders. */
  get evidence(): string[] {
    return ['--trust', this.at('pki', 'trust'), '--anchors', this.at('worm')]
  }
}
