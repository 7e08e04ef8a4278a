/** Secrets in the wrong place and files that are cut, each with --debug: whatever the programs say of them is recorded. */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Answer } from '../../lib/edge/demo/stage.ts'
import type { Recorded } from './recorded.ts'
import { workFolder } from './secrets.ts'

/** Secrets that are handed in where they do not belong; a program may refuse them, and not repeat them. */
export interface Planted {
  passphrase: string
  password: string
  token: string
  json: string
  pem: string
  pii: string
}

interface Mistake {
  code: number
  program: string
  args: string[]
  env?: Record<string, string>
  input?: string
}

/** Makes every mistake. Returns those that did not end in the code that is documented, one clear error, and a hint. */
export async function makeMistakes(
  recorded: Recorded,
  planted: Planted,
  person: object,
): Promise<(Mistake & { answer: Answer })[]> {
  using work = workFolder(recorded, 'mistakes')
  const left = mistakes(recorded, work.at, planted, person).values()
  const wrong: (Mistake & { answer: Answer })[] = []
  const worker = async () => {
    for (const mistake of left) {
      const { code, program, args, env = {}, input = '' } = mistake
      const answer = await recorded.run([recorded.scene.binary(program), ...args], { env, input })
      const isClear = /: error: [^\n]+\nhint: [^\n]+\n/.test(answer.stderr) && answer.stdout === ''
      if (!isClear || answer.code !== code) wrong.push({ ...mistake, answer })
    }
  }
  await Promise.all([worker(), worker(), worker()]) // programs wait more than they compute
  return wrong
}

function mistakes(
  { scene, server }: Recorded,
  at: (name: string) => string,
  planted: Planted,
  person: object,
): Mistake[] {
  const [tenant, other] = scene.tenants
  let files = 0
  const put = (name: string, content: string | Uint8Array): string => {
    const path = at(`${++files}-${name}`)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }
  const cut = (path: string): string => {
    const bytes = readFileSync(path)
    return put('cut', bytes.subarray(0, Math.floor(bytes.length * 0.6)))
  }
  const pki = (...names: string[]) => scene.at('pki', ...names)
  const optionFile = pki('clients', `${tenant.account}.cnf`)
  const cnf = readFileSync(optionFile, 'utf8')
  const changed = (line: RegExp, replacement: string) => put('changed.cnf', cnf.replace(line, replacement))
  const json = put('secret.json', planted.json)
  const pem = put('secret.pem', `-----BEGIN PRIVATE KEY-----\n${planted.pem}\n-----END PRIVATE KEY-----\n`)
  const passphrase = put('wrong', `${planted.passphrase}\n`)
  const token = put('token', `${planted.token}\n`)
  const anchorKey = scene.at('anchor', 'anchor_key.json')
  const otherKem = other.kem ?? ''

  const [, env] = scene.envelope(tenant)
  const as = ['--debug', '--trust', pki('trust'), '--receipts', tenant.receipts, '--defaults-file']
  const read = (file: string, more: Record<string, string> = {}, code = 3): Mistake => ({
    code,
    program: 'pq_envelope_cli',
    args: ['read', String(tenant.people[0]), ...as, file],
    env: { ...env, ...more },
  })
  const client = (code: number, args: string[], input = ''): Mistake => ({
    code,
    program: 'pq_envelope_cli',
    args: [...args, ...as, optionFile],
    env,
    input,
  })
  const create = (input: string): Mistake => client(2, ['create', '--input', '-'], input)
  const bad = (fields: object) => JSON.stringify({ ...person, ...fields })
  const kem = (code: number, file: string) => client(code, ['read', String(tenant.people[0]), '--kem', file])
  const tenantKey = (passphraseFile: string, issuer: string) => {
    const secrets = ['--passphrase-file', passphraseFile, '--issuer', issuer]
    return client(3, ['tenant-key', '--purpose', 'blind:users.full_name', ...secrets])
  }
  const crl = (code: number, file: string): Mistake => ({
    code,
    program: 'outside_pki',
    args: ['crl', '--debug', '--dir', pki(), '--passphrase-file', file],
  })
  const plan = (archive: string): Mistake => ({
    code: 3,
    program: 'vm_oneclick',
    args: ['plan', '--debug', ...scene.installFlags, '--pki-tar', archive],
  })
  const anchor = (key: string): Mistake => ({
    code: 3,
    program: 'anchor_head',
    args: [...scene.anchorHead('--debug', '--socket', server.socket, '--key', key)[0].slice(1)],
  })
  const judge = (code: number, program: string, ...args: string[]): Mistake => ({
    code,
    program,
    args: ['verify', '--debug', ...scene.evidence, ...args],
  })

  return [
    crl(3, passphrase),
    crl(2, put('client.cnf', cnf)),
    read(optionFile, { KMS_EMULATOR_TOKEN_FILE: token }),
    read(optionFile, { KMS_EMULATOR_TOKEN_FILE: json }),
    read(optionFile, { KMS_EMULATOR_TOKEN_FILE: other.tokenFile }),
    read(optionFile, { KMS_EMULATOR_TOKEN_FILE: scene.passphrase, KMS_EMULATOR_HOST: '127.0.0.1:1' }),
    read(changed(/password=.*/, `password=${planted.password}`)),
    read(put('no.cnf', `${planted.password}\n`)),
    read(put('odd.cnf', `[client]\n${planted.password}=1\npassword=${planted.password}#\n`)),
    read(changed(/ssl-key=.*/, `ssl-key=${pem}`)),
    read(changed(/ssl-cert=.*/, `ssl-cert=${pem}`)),
    read(changed(/ssl-key=.*/, `ssl-key=${cut(pki('clients', `${tenant.account}-key.pem`))}`)),
    kem(3, json),
    kem(3, scene.passphrase),
    kem(3, cut(otherKem)),
    kem(1, otherKem),
    tenantKey(passphrase, pki('issuers', 'acme-issuer.json')),
    tenantKey(scene.passphrase, json),
    create(bad({ nickname: planted.pii })),
    create(bad({ email: planted.pii })),
    create(bad({ phone: planted.pii })),
    create(bad({ role: `${planted.pii}!` })),
    create(bad({ full_name: [planted.pii] })),
    create(bad({ full_name: planted.pii.repeat(60) })),
    create(`{"full_name": ${planted.pii}`),
    create(`[${bad({})}, ${bad({ email: planted.pii })}]`),
    client(2, ['create', '--input', scene.passphrase]),
    client(3, ['update', crypto.randomUUID(), '--input', '-'], bad({})),
    { ...client(3, []), args: ['open', '--debug', '--input', '-'], input: planted.json },
    { ...client(3, []), args: ['open', '--debug', '--input', otherKem] },
    plan(json),
    plan(cut(pki('pki_server.tar.gz'))),
    plan(pki('pki_probes.tar.gz')),
    {
      code: 3,
      program: 'vm_oneclick',
      args: ['orders', '--debug', '--socket', server.socket, '--conf-dir', scene.at('conf'), '--yes', json],
    },
    anchor(json),
    anchor(cut(anchorKey)),
    judge(3, 'chain_verify', '--file', json),
    judge(3, 'chain_verify', '--file', anchorKey),
    judge(1, 'proof_suite', json),
    judge(1, 'proof_suite', pki('pki_server.tar.gz')),
    {
      code: 3,
      program: 'chain_verify',
      args: ['export', '--debug', '--defaults-file', optionFile, '--out', at('trail')],
    },
    {
      code: 1,
      program: 'proof_suite',
      args: ['--debug', '--clients-dir', pki('clients'), '--socket', server.socket, '--out', at('out')],
    },
  ]
}
