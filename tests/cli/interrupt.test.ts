/** A whole journey on a bad day: each long command is interrupted again and again, and goes on from where it stands. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { unpackArchive } from '../../lib/edge/archive.ts'
import { startKms } from '../../lib/edge/demo/chapters.ts'
import { type DemoTenant, people } from '../../lib/edge/demo/scene.ts'
import type { Answer } from '../../lib/edge/demo/stage.ts'
import { systemUser } from '../support/oneclick.ts'
import { type Invocation, Troubled } from '../support/troubled.ts'

setDefaultTimeout(600_000) // binaries that are not up to date are compiled first

let on: Troubled
let acme: DemoTenant
let globex: DemoTenant
const cuts: Answer[] = []

beforeAll(async () => {
  on = await Troubled.make()
  const [first, second] = on.scene.tenants
  acme = first
  globex = second
  await startKms(on.scene)
})
afterAll(async () => on?.[Symbol.asyncDispose]())

async function interrupt(
  invocation: Invocation,
  check: (answer: Answer) => unknown = () => undefined,
): Promise<Answer> {
  const { cut, last } = await on.interrupt(invocation, check)
  cuts.push(...cut)
  expect(on.left()).toEqual([])
  return last
}

const pki = (...args: string[]): Invocation => ({
  program: 'outside_pki',
  args: [...args, '--dir', on.scene.at('pki'), '--passphrase-file', on.scene.passphrase],
})

const envelope = (tenant: DemoTenant, args: string[], input = ''): Invocation => {
  const [[, ...rest], env] = on.scene.envelope(tenant, ...args)
  return { program: 'pq_envelope_cli', args: rest, env, input }
}

const secrets = ({ label }: DemoTenant): string[] => {
  const issuer = on.scene.at('pki', 'issuers', `${label}-issuer.json`)
  return ['--issuer', issuer, '--passphrase-file', on.scene.passphrase]
}

const keygen = (out: string): Invocation => {
  const args = ['keygen', '--tenant', globex.label, '--trust', on.scene.at('pki', 'trust'), '--out', out]
  return { program: 'pq_envelope_cli', args: [...args, '--passphrase-file', on.scene.passphrase] }
}

const apply = (archive: string): Invocation => {
  const flags = [...on.scene.installFlags, '--anchor-user', systemUser, '--pki-tar', archive]
  return { program: 'vm_oneclick', args: ['apply', '--yes', ...flags] }
}

const collect = (out: string): Invocation => {
  const { scene, server } = on
  const places = ['--socket', server.socket, '--conf-dir', scene.at('conf'), '--tls-dir', scene.at('tls')]
  const anchors = ['--anchor-now', '--anchor-state', scene.at('anchor'), '--worm', scene.at('worm')]
  const args = ['--out', out, '--clients-dir', scene.at('probes'), '--canary', scene.at('canary')]
  return { program: 'proof_suite', args: [...args, ...places, ...anchors] }
}

const exportTo = (out: string): Invocation => ({
  program: 'chain_verify',
  args: ['export', '--socket', on.server.socket, '--out', out],
})

/** A busy machine takes its time between two anchors. */
const lenient = ['--gap', '86400']

const verifyLive = (): Invocation => ({
  program: 'chain_verify',
  args: [...on.scene.evidence, ...lenient, '--socket', on.server.socket, '--receipts', acme.receipts],
})

const anchorNow = (): Invocation => {
  const [[, ...args], env] = on.scene.anchorHead('now')
  return { program: 'anchor_head', args, env }
}

const inUse = /: in use by [^\n]+\nhint: /

/** A copy of what the operator is handed: apply removes it. */
function copyArchive(): string {
  const archive = on.scene.at('pki_server.tar.gz')
  copyFileSync(on.scene.at('pki', 'pki_server.tar.gz'), archive)
  return archive
}

test('the PKI is made, and grows by tenants, accounts and renewals', async () => {
  const { scene, server } = on
  const place = [
    '--server-name',
    '127.0.0.1',
    '--port',
    String(server.port),
    '--probes-dir',
    scene.at('probes'),
  ]
  const tenant = ['--tenant', acme.label, '--account', acme.account, '--kms-key', acme.kmsKey]
  await interrupt(pki('init', ...place, ...tenant), () =>
    // all or nothing
    expect(existsSync(scene.at('pki'))).toBe(existsSync(scene.at('pki', 'pki.json'))),
  )
  await interrupt(pki('tenant', 'add', globex.label, '--kms-key', globex.kmsKey))
  await interrupt(pki('issue', globex.account, '--tenant', globex.label))
  await interrupt(pki('renew', globex.account))
  await scene.pki('issue', 'short_lived', '--role', 'auditor')
  await interrupt(pki('revoke', 'short_lived', '--retire', '--yes'))
  expect((await on.run(pki('list', '--all'))).stdout).toMatch(/^short_lived .* revoked /m)
  const probes = await unpackArchive(readFileSync(scene.at('pki', 'pki_probes.tar.gz')), 'probes', 1 << 24)
  for (const [name, bytes] of probes) writeFileSync(scene.at('probes', name), bytes, { mode: 0o600 })
})

test('an ML-KEM pair is there with its recovery copy, or not at all', async () => {
  const { kem = '' } = globex
  const names = () => readdirSync(on.scene.at('pki', 'clients')).filter(name => name.includes('-kem.'))
  await interrupt(keygen(kem), ({ code }) => expect(names()).toHaveLength(code === 0 ? 3 : 0))
  await on.scene.pki('tenant', 'kem', globex.label, kem.replace(/json$/, 'pub'))
})

test('the database is installed, and the archive stays until it is', async () => {
  const { scene, server, tmp } = on
  const archive = copyArchive()
  const last = await interrupt(apply(archive), ({ code }) => expect(existsSync(archive)).toBe(code !== 0))
  expect(last.stdout).toContain('restart needed: yes')
  await server.restart({ config: `${scene.settings.config}\n[mysqld]\ntmpdir=${tmp}\n` })
  const again = await on.run({ program: 'vm_oneclick', args: ['check', ...scene.installFlags] })
  expect([again.code, again.stdout]).toEqual([0, expect.stringContaining('no drift')])
})

test('anchors have no gap and no second signature', async () => {
  for (let i = 0; i < 3; i++) await interrupt(anchorNow())
})

test('data keys are made once', async () => {
  expect((await on.run(envelope(acme, ['tenant-key', ...secrets(acme)]))).code).toBe(0)
  const args = ['tenant-key', '--pq', ...secrets(globex)]
  await interrupt(envelope(globex, args), async () => {
    expect((await on.run(envelope(globex, ['resend']))).code).toBe(0)
  })
  const again = await on.run(envelope(globex, args))
  expect(again.stdout.match(/"made":false/g)).toHaveLength(3)
})

test('each person that was written has a receipt', async () => {
  const ids = new Set<string>()
  const keep = (text: string) => {
    for (const line of text.split('\n').filter(each => each !== '')) ids.add(JSON.parse(line).id)
  }
  const create = envelope(acme, ['create', '--input', '-'], JSON.stringify(people[0]))
  await interrupt(create, async ({ stdout }) => {
    keep(stdout)
    const resent = await on.run(envelope(acme, ['resend']))
    expect(resent.code).toBe(0)
    keep(resent.stdout)
    expect(readdirSync(acme.receipts).filter(name => !name.endsWith('.json'))).toEqual([])
  })
  for (const id of ids) expect((await on.run(envelope(acme, ['read', id]))).code).toBe(0)
})

test('evidence is collected, exported and judged', async () => {
  const { scene } = on
  const [bundle, trail] = [scene.at('bundle.tar.gz'), scene.at('trail.ndjson')]
  writeFileSync(scene.at('canary'), people[0].full_name, { mode: 0o600 })
  const whole = (path: string) => (answer: Answer) => expect(existsSync(path)).toBe(answer.code === 0)
  await interrupt(collect(bundle), whole(bundle))
  const verify = ['verify', bundle, ...scene.evidence, '--require', 'database', '--gap', '86400']
  await interrupt({ program: 'proof_suite', args: verify })
  await interrupt(exportTo(trail), whole(trail))
  await interrupt({ program: 'chain_verify', args: [...scene.evidence, ...lenient, '--file', trail] })
  await interrupt(verifyLive())
})

test('both signals came in the middle of a run, again and again', () => {
  const codes = cuts.map(({ code }) => code)
  expect([codes.includes(130), codes.includes(143), codes.length > 12]).toEqual([true, true, true])
})

test('a full disk is named, leaves nothing half-written, and the next run is through', async () => {
  const { scene } = on
  const fill = async (invocation: Invocation) => expect((await on.fill(invocation)).length).toBeGreaterThan(0)
  await fill({
    ...pki('init'),
    args: ['init', '--dir', scene.at('pki2'), '--passphrase-file', scene.passphrase],
  })
  await fill(pki('renew', 'server'))
  await fill(keygen(scene.at('second-kem.json')))
  await fill(apply(copyArchive()))
  await fill(anchorNow())
  await fill(envelope(acme, ['create', '--input', '-'], JSON.stringify(people[1])))
  await fill(collect(scene.at('second.tar.gz')))
  await fill(exportTo(scene.at('second.ndjson')))
})

test('a reader that goes away changes neither the work nor the exit code', async () => {
  for (const invocation of [pki('list'), verifyLive(), { program: 'proof_suite', args: ['controls'] }]) {
    const answer = await on.run(invocation, 'exec > >(exec true)')
    expect([invocation.program, answer.code, answer.stderr]).toEqual([invocation.program, 0, ''])
  }
})

test('two at once: one is at work, the other waits, is told so, or does the same again', async () => {
  const { scene } = on
  const [out, trail] = [scene.at('third-kem.json'), scene.at('third.ndjson')]
  const bundle = scene.at('third.tar.gz')
  const install = apply(copyArchive())
  const twice = async (invocation: Invocation, refused?: RegExp) => {
    const answers = await Promise.all([on.run(invocation), on.run(invocation)])
    const failed = answers.filter(({ code }) => code !== 0)
    expect(failed.length).toBeLessThan(2)
    for (const { stdout, stderr } of failed)
      expect([stdout, stderr]).toEqual(['', expect.stringMatching(refused ?? /^$/)])
    expect([invocation.program, on.left()]).toEqual([invocation.program, []])
    if (failed.length > 0 && refused === inUse) expect((await on.run(invocation)).code).toBe(0)
  }
  await twice(pki('issue', 'third_auditor', '--role', 'auditor'), inUse)
  await twice(keygen(out), /: exists already\nhint: /)
  await twice({ ...install, args: [...install.args, '--keep-archive'] }, inUse)
  await twice(envelope(acme, ['tenant-key', ...secrets(acme)]), inUse)
  await twice(anchorNow())
  await twice(collect(bundle))
  await twice(exportTo(trail))
})

test('nothing was lost: the trail, every anchor and every receipt hold', async () => {
  const verdict = await on.run(verifyLive())
  expect([verdict.code, verdict.stderr]).toEqual([0, ''])
})

test('no umask opens what is private', () => {
  const known = /^worm\/|^tls|^conf\/zero-trust(-init\.sql|\.cnf) 640$|-kem\.pub 644$/
  expect(on.open().filter(each => !known.test(each))).toEqual([])
  const tls = on.open().filter(each => each.startsWith('tls'))
  expect(tls).toEqual(['tls 750', 'tls/ca.pem 640', 'tls/crl.pem 640', 'tls/server-cert.pem 640'])
})
