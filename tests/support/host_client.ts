/** The stock mysql client on a host of its own, with the certificates that the workstation handed out. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Ended } from '../../lib/edge/child.ts'
import { bootHost, type TestHost } from './hosts.ts'

const folder = '/root/clients'

export class MysqlClient {
  readonly host: TestHost

  private constructor(host: TestHost) {
    this.host = host
  }

  static async boot(name: string, ip: string, pki: string): Promise<MysqlClient> {
    const client = new MysqlClient(await bootHost({ name, ip, base: 'installed' }))
    await client.bring(pki)
    return client
  }

  /** Copies every client's files over, as a person would hand them out. */
  async bring(pki: string): Promise<void> {
    const from = join(pki, 'clients')
    await this.host.push(
      readdirSync(from).map(name => join(from, name)),
      folder,
    )
    await this.host.mustSh(`sed -i 's,${from}/,${folder}/,' ${folder}/*.cnf`)
  }

  /** Runs a statement as an account; `more` are options of the client, which win over the account's file. */
  async query(account: string, statement: string, ...more: string[]): Promise<Ended> {
    return this.host.exec('mysql', ...this.options(account), ...more, '-BNe', statement)
  }

  options(account: string): string[] {
    return [`--defaults-file=${folder}/${account}.cnf`, '--connect-timeout=20']
  }

  /** Options that take another account's certificate. */
  certificateOf(account: string): string[] {
    return [`--ssl-cert=${folder}/${account}-cert.pem`, `--ssl-key=${folder}/${account}-key.pem`]
  }

  /** An option file like an account's that names no certificate. */
  async withoutCertificate(account: string): Promise<string> {
    const path = `${folder}/bare_${account}.cnf`
    await this.host.mustSh(
      `grep -v -e ^ssl-cert -e ^ssl-key ${folder}/${account}.cnf > ${path}; chmod 600 ${path}`,
    )
    return `bare_${account}`
  }

  /** What openssl tells of a handshake with an account's certificate, up to the server's last word. */
  async tlsTranscript(account: string, ip: string): Promise<string> {
    const files = ['ca', 'cert', 'key'].map(what => `${folder}/${account}-${what}.pem`)
    const [ca = '', certificate = '', key = ''] = files
    const { stdout, stderr } = await this.host.exec(
      ...['timeout', '30', 'openssl', 's_client', '-connect', `${ip}:3306`, '-starttls', 'mysql', '-ign_eof'],
      ...['-CAfile', ca, '-cert', certificate, '-key', key],
    )
    return `${stdout}${stderr}`
  }
}
