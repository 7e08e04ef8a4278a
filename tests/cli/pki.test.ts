import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js'
import { parseClientConfig } from '../../lib/core/mycnf.ts'
import { readPki } from '../../lib/edge/pki.ts'
import { readTrust } from '../../lib/edge/trust.ts'
import { binary } from '../support/binary.ts'
import { verify } from '../support/openssl.ts'
import { command, PkiCli, cliPassphrase as passphrase, type Result } from '../support/pki_cli.ts'

setDefaultTimeout(120_000) // key derivation is slow on purpose

const cli = new PkiCli()
const { base, dir } = cli
const at = (name: string) => cli.at(name)
const run = (args: string[]) => cli.run(args)
const pki = (folder: string, ...args: string[]) => cli.pki(folder, ...args)
const fresh = () => cli.copy()
let made: Result
beforeAll(async () => {
  made = await cli.make(
    ...['--server-name', 'db.example', '--tenant', 'acme'],
    ...['--account', 'acme_app', '--port', '3307'],
  )
})
afterAll(() => cli.clean())

const snapshot = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(path => statSync(join(folder, path)).isFile())
    .map(
      path =>
        `${path} ${createHash('sha256')
          .update(readFileSync(join(folder, path)))
          .digest('hex')}`,
    )
    .sort()

describe('without a subcommand', () => {
  test('it makes everything for the standard story', () => {
    expect(made.code).toBe(0)
    expect(made.out).toMatch(/^CA [0-9a-f]{32}, until .*, SHA-256 [0-9a-f]{64}$/m)
    const trust = readTrust(join(dir, 'trust'), { caSha256: readPki(dir).authorities[0]?.sha256 })
    expect(trust.certificates.map(c => c.account).sort()).toEqual([
      'acme_app',
      'administrator',
      'auditor',
      'probe_a',
      'probe_auditor',
      'probe_b',
    ])
    expect(parseClientConfig(readFileSync(join(dir, 'clients/acme_app.cnf'), 'utf8'))).toMatchObject({
      host: 'db.example',
      port: 3307,
    })
    expect(existsSync(join(dir, 'pki_server.tar.gz'))).toBe(true)
    expect(existsSync(join(dir, '.lock'))).toBe(false)
  })

  test('it says where each part goes', () => {
    expect(made.err).toContain('unpack ')
    expect(made.err).toContain('/pki_probes.tar.gz on that host in /etc/ztmysql/probes')
    expect(made.err).not.toContain('without --server-name')
  })

  test('it says no secret', () => {
    const said = made.out + made.err
    const secrets = readPki(dir).accounts.flatMap(a => (a.password === null ? [] : [a.password]))
    expect(secrets).toHaveLength(5)
    for (const secret of [passphrase, 'PRIVATE', 'seed', ...secrets]) expect(said).not.toContain(secret)
  })

  test('run again, it changes nothing, says so, and asks for no passphrase', async () => {
    const before = snapshot(dir)
    const again = await run(['init', '--dir', dir, '--tenant', 'acme', '--server-name', 'db.example'])
    expect([again.code, again.out]).toEqual([0, `${dir}: nothing changed: all of that is there already\n`])
    expect(snapshot(dir)).toEqual(before)
  })

  test('run again for something else, it refuses and names the command', async () => {
    const other = await run(['--dir', dir, '--tenant', 'globex'])
    expect(other.code).toBe(1)
    expect(other.err).toContain('hint: outside_pki tenant add globex')
  })

  test('as a dry run it leaves nothing behind', async () => {
    const dry = await pki(at('dry'), '--dry-run')
    expect(dry.code).toBe(0)
    expect(dry.out).toContain('would do: certificate of app_user')
    expect(existsSync(at('dry'))).toBe(false)
  })

  test('interrupted, it leaves nothing behind', async () => {
    const child = Bun.spawn([...command, '--dir', at('cut'), '--passphrase-file', at('pass.txt')], {
      cwd: base,
      stderr: 'pipe',
      stdout: 'pipe',
      stdin: 'ignore',
    })
    while (!existsSync(join(at('cut'), '.lock'))) await Bun.sleep(2)
    child.kill('SIGINT')
    expect([await child.exited, await child.stderr.text()]).toEqual([130, 'outside_pki: interrupted\n'])
    expect(existsSync(at('cut')) ? readdirSync(at('cut')) : []).toEqual([])
    const again = await pki(at('cut'))
    expect(again.code).toBe(0)
  })
})

describe('what cannot be undone', () => {
  test.each([[['revoke', 'acme_app', '--retire']], [['tenant', 'retire', 'acme']]])(
    '%p shows its plan and wants --yes',
    async args => {
      const folder = fresh()
      const before = snapshot(folder)
      const asked = await pki(folder, ...args)
      expect(asked.code).toBe(2)
      expect(asked.out).toMatch(/^would do: order orders\/000007.json: retire tenant_grant/)
      expect(asked.err).toContain('hint: read the plan above, then run it again with --yes')
      expect(snapshot(folder)).toEqual(before)

      const done = await pki(folder, ...args, '--yes')
      expect(done.code).toBe(0)
      expect(done.out).toMatch(/^revoked: certificate [0-9a-f]{32} of acme_app$/m)
      const again = await pki(folder, ...args, '--yes')
      expect([again.code, again.out]).toEqual([
        0,
        `${folder}: nothing changed: all of that is there already\n`,
      ])
    },
  )

  test('rollover --finish without a rollover changes nothing', async () => {
    const { code, out } = await pki(dir, 'rollover', '--finish', '--yes')
    expect([code, out]).toEqual([0, `${dir}: nothing changed: all of that is there already\n`])
  })
})

describe('on one folder', () => {
  test('tenants join with KMS and ML-KEM keys', async () => {
    const folder = fresh()
    const uri = 'gcp-kms://projects/p/locations/europe-west1/keyRings/r/cryptoKeys/globex'
    const { publicKey } = ml_kem768.keygen()
    writeFileSync(at('globex.pub'), `${Buffer.from(publicKey).toString('base64')}\n`)
    for (const args of [
      ['tenant', 'add', 'globex'],
      ['tenant', 'kms-key', 'globex', uri],
      ['tenant', 'kms-key', 'globex', 'pkcs11:object=globex;token=The%20hsm?module-path=/usr/lib/x.so'],
      ['tenant', 'kem', 'globex', at('globex.pub')],
      ['issue', 'globex_app', '--tenant', 'globex', '--days', '7'],
    ])
      expect([args, (await pki(folder, ...args)).code]).toEqual([args, 0])
    const trust = readTrust(join(folder, 'trust'))
    const tenant = trust.tenants.find(t => t.label === 'globex')
    expect([tenant?.kmsKeys, tenant?.kems, tenant?.fixture]).toEqual([
      [uri, 'pkcs11:token=The%20hsm;object=globex'],
      [publicKey],
      false,
    ])
    expect(verify(folder, 'sslclient', join(folder, 'clients/globex_app-cert.pem')).out).toEndWith('OK')
    const shared = await pki(folder, 'tenant', 'kms-key', 'acme', uri)
    expect([shared.code, shared.err.includes('is the key of tenant globex')]).toEqual([1, true])
    writeFileSync(at('bad.pub'), `${Buffer.alloc(1184, 255).toString('base64')}\n`)
    expect((await pki(folder, 'tenant', 'kem', 'acme', at('bad.pub'))).code).toBe(3)
  })

  test('renew server takes other names, and clients follow', async () => {
    const folder = fresh()
    const refused = await run(['client-cnf', '--host', 'db2.example', '--dir', folder])
    expect([refused.code, refused.err.includes('renew server --server-name db2.example')]).toEqual([1, true])
    expect(
      (await pki(folder, 'renew', 'server', '--server-name', 'db2.example', '--server-name', 'db.example'))
        .code,
    ).toBe(0)
    const moved = await run(['client-cnf', '--host', 'db2.example', '--port', '3400', '--dir', folder])
    expect(moved.code).toBe(0)
    const config = parseClientConfig(readFileSync(join(folder, 'clients/acme_app.cnf'), 'utf8'))
    expect(config).toMatchObject({
      host: 'db2.example',
      port: 3400,
      sslKey: join(folder, 'clients/acme_app-key.pem'),
    })
    expect(verify(folder, 'sslserver', join(folder, 'server/server-cert.pem')).out).toEndWith('OK')
  })

  test('server-archive writes the same bytes again, without a passphrase', async () => {
    const folder = fresh()
    const before = readFileSync(join(folder, 'pki_server.tar.gz'))
    rmSync(join(folder, 'pki_server.tar.gz'))
    expect((await run(['server-archive', '--dir', folder])).code).toBe(0)
    expect(readFileSync(join(folder, 'pki_server.tar.gz')).equals(before)).toBe(true)
  })

  test('crl and probes are made afresh', async () => {
    const folder = fresh()
    expect((await pki(folder, 'crl')).out).toContain('CRL 2, next update')
    const probes = readFileSync(join(folder, 'pki_probes.tar.gz'))
    expect((await pki(folder, 'probes')).code).toBe(0)
    expect(readFileSync(join(folder, 'pki_probes.tar.gz')).equals(probes)).toBe(false)
  })

  test('list needs no passphrase and shows every certificate and the CRL', async () => {
    const { code, out, err } = await run(['list', '--dir', dir])
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^CRL {6}1, next update .* \(29 days\)$/m)
    expect(out).toMatch(/^server +server +- +\S+ +89 +in force +[0-9a-f]{32}$/m)
    expect(out).toMatch(/^probe_a +probe +probe-a +\S+ +0 +in force +[0-9a-f]{32}$/m)
    const json = JSON.parse((await run(['list', '--dir', dir, '--json'])).out) as {
      caSha256: string[]
      certificates: object[]
    }
    expect(json.caSha256).toEqual(readPki(dir).authorities.map(ca => ca.sha256))
    expect(json.certificates).toHaveLength(7)
  })
})

test('a TLS 1.3 handshake with both certificates stands, until the client is revoked', async () => {
  const folder = fresh()
  const handshake = async (): Promise<{ server: string; client: string }> => {
    const at = (path: string) => join(folder, path)
    const server = Bun.spawn(
      [
        'openssl',
        's_server',
        '-accept',
        '127.0.0.1:0',
        '-tls1_3',
        '-naccept',
        '1',
        '-Verify',
        '1',
        '-verify_return_error',
      ]
        .concat(['-crl_check', '-CAfile', at('server/ca.pem'), '-CRL', at('server/crl.pem')])
        .concat(['-cert', at('server/server-cert.pem'), '-key', at('server/server-key.pem')]),
      { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' },
    )
    let said = ''
    const reader = server.stdout.getReader()
    const more = async () => {
      const { value, done } = await reader.read()
      if (value !== undefined) said += new TextDecoder().decode(value)
      return !done
    }
    while (!/ACCEPT 127\.0\.0\.1:\d+/.test(said))
      if (!(await more())) throw new Error(await server.stderr.text())
    const port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1] ?? ''
    const client = Bun.spawn(
      [
        'openssl',
        's_client',
        '-connect',
        `127.0.0.1:${port}`,
        '-tls1_3',
        '-verify_return_error',
        '-verify_hostname',
        'db.example',
      ]
        .concat(['-CAfile', at('clients/acme_app-ca.pem'), '-cert', at('clients/acme_app-cert.pem')])
        .concat(['-key', at('clients/acme_app-key.pem')]),
      { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' },
    )
    // the client's certificate is judged after its own handshake: only an answer says that it was taken
    client.stdin.write('Q\n')
    await client.stdin.end()
    const [seen] = await Promise.all([client.stdout.text(), client.exited])
    server.stdin.end()
    while (await more()) said.length
    return { server: said + (await server.stderr.text()), client: seen }
  }

  const before = await handshake()
  expect(before.client).toContain('TLSv1.3')
  expect(before.client).toContain('Verify return code: 0 (ok)')
  expect(before.server).toContain('CN = acme_app')
  expect(before.server).not.toContain('error')
  expect((await pki(folder, 'revoke', 'acme_app', '--yes')).code).toBe(0)
  expect((await handshake()).server).toContain('certificate revoked')
})

test('compiled, it does the same in an empty folder', async () => {
  const program = [await binary('outside_pki')]
  const passed = ['--passphrase-file', at('pass.txt')]
  const made = await cli.run(['--dir', at('compiled'), ...passed], program)
  expect([made.code, made.err]).toEqual([
    0,
    expect.stringContaining('without --server-name the server is 127.0.0.1:3306, for trials on one machine'),
  ])
  expect((await cli.run(['probes', '--dir', at('compiled'), ...passed], program)).code).toBe(0)
  expect((await cli.run(['list', '--dir', at('compiled')], program)).out).toContain('trust    serial 2\n')
  const trust = readTrust(join(at('compiled'), 'trust'))
  expect(trust.certificates).toHaveLength(9)
  expect(verify(at('compiled'), 'sslclient', join(at('compiled'), 'probes/probe_a-cert.pem')).out).toEndWith(
    'OK',
  )
})
