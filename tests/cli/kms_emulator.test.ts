/** The emulator as its users see it: a command, a file, and a service for Google's own client. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onExit } from '../../lib/edge/cleanup.ts'
import { operator, StateStore, startKmsEmulator } from '../../lib/edge/kms_emulator.ts'
import { keyA, keyB, location, ring, startTestKms, type TestKms } from '../support/kms.ts'

setDefaultTimeout(60_000) // processes on a busy machine

const script = join(import.meta.dir, '../../scripts/kms_emulator.ts')
const probe = join(import.meta.dir, '../support/kms_probe.ts')
const secret = 'canary-77d0-never-to-be-printed!'
const folders: string[] = []

function makeDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'zt-kms-cli-'))
  folders.push(dir)
  return dir
}
afterAll(() => {
  for (const dir of folders) rmSync(dir, { recursive: true, force: true })
})

async function run(file: string, args: string[], env: Record<string, string> = {}, stdin = '') {
  const child = Bun.spawn([process.execPath, file, ...args], {
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', ...env },
    stdin: new Blob([stdin]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { stdout, stderr, code }
}

const emulate = (...args: string[]) => run(script, args)

/** A serving process; resolves when it is ready. */
async function serve(state: string, ...args: string[]) {
  const child = Bun.spawn([process.execPath, script, 'serve', '--state', state, ...args], {
    env: { PATH: process.env.PATH ?? '' },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  onExit(() => child.kill('SIGKILL')) // a failed test never reaches its own end
  const { value } = await child.stdout.getReader().read()
  const ready = JSON.parse(new TextDecoder().decode(value)) as {
    endpoint: string
    pid: number
    state: string
  }
  return { child, ready }
}

describe('the command', () => {
  test('serves keys to identities, keeps them over kill -9, and says what it is', async () => {
    const dir = makeDir()
    const state = join(dir, 'kms.json')
    const token = join(dir, 'app.token')
    expect(await emulate('create-key', '--state', state, '--key', keyA)).toEqual({
      code: 0,
      stdout: `created gcp-kms-emulator://${keyA}\n`,
      stderr: '',
    })
    expect((await emulate('create-key', '--state', state, '--key', keyA)).stdout).toStartWith('exists ')
    const grant = [
      'grant',
      '--state',
      state,
      '--identity',
      'app',
      '--key',
      keyA,
      '--rights',
      'encrypt,decrypt',
    ]
    expect((await emulate(...grant, '--token-file', token)).code).toBe(0)
    const readyFile = join(dir, 'ready.json')
    const first = await serve(state, '--ready-file', readyFile)
    expect(first.ready.endpoint).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(JSON.parse(readFileSync(readyFile, 'utf8'))).toEqual(first.ready)
    for (const file of [state, token, readyFile]) expect(statSync(file).mode & 0o777).toBe(0o600)

    const env = (endpoint: string) => ({ KMS_EMULATOR_HOST: endpoint, KMS_EMULATOR_TOKEN_FILE: token })
    const good = { keyUri: `gcp-kms-emulator://${keyA}`, answers: [true, true] }
    expect(JSON.parse((await run(probe, [keyA], env(first.ready.endpoint), secret)).stdout)).toEqual(good)

    first.child.kill('SIGKILL')
    await first.child.exited
    const second = await serve(state)
    expect(JSON.parse((await run(probe, [keyA], env(second.ready.endpoint), secret)).stdout)).toEqual(good)
    second.child.kill('SIGTERM')
    expect(await second.child.exited).toBe(143)

    const stored = readFileSync(state, 'utf8')
    expect(stored).not.toContain(readFileSync(token, 'utf8').trim())
    expect(readdirSync(dir).filter(name => name.endsWith('.tmp'))).toEqual([])
  })

  test('removes its ready file at the end', async () => {
    const dir = makeDir()
    const readyFile = join(dir, 'ready.json')
    const { child } = await serve(join(dir, 'kms.json'), '--ready-file', readyFile)
    child.kill('SIGINT')
    expect(await child.exited).toBe(130)
    expect(existsSync(readyFile)).toBe(false)
  })

  test('loses nothing when commands change the state at the same time', async () => {
    const state = join(makeDir(), 'kms.json')
    const names = Array.from({ length: 6 }, (_, i) => `${ring}/cryptoKeys/parallel-${i}`)
    const runs = await Promise.all(names.map(key => emulate('create-key', '--state', state, '--key', key)))
    expect(runs.map(({ code }) => code)).toEqual(names.map(() => 0))
    expect(Object.keys(new StateStore(state).read().cryptoKeys).sort()).toEqual(names)
  })

  test('changes a running server: a new key, a rotation, a fault and its end', async () => {
    const lab = await startTestKms()
    const token = await lab.identity('app', { [ring]: ['encrypt', 'decrypt'] })
    const kms = await lab.open(keyB, token)
    const uri = `gcp-kms-emulator://${keyB}`
    const seal = () => kms.encrypt(uri, new Uint8Array(32), new Uint8Array(1))
    await emulate('create-key', '--state', lab.stateFile, '--key', keyB)
    expect((await seal())[4]).toBe(1)
    expect((await emulate('rotate', '--state', lab.stateFile, '--key', keyB)).stdout).toBe(
      'primary version 2\n',
    )
    expect((await seal())[4]).toBe(2)
    await emulate('fault', '--state', lab.stateFile, 'fail=PERMISSION_DENIED@Encrypt')
    expect(seal()).rejects.toMatchObject({ code: 'DENIED' })
    await emulate('fault', '--state', lab.stateFile)
    expect((await seal()).length).toBe(65)
    await lab.stop()
  })

  test.each([
    ['a command without its state', ['create-key', '--key', keyA], 2, '--state'],
    [
      "Google's key",
      ['create-key', '--state', 'STATE', '--key', `gcp-kms://${keyA}`],
      1,
      'belongs to Google',
    ],
    ['a ring for a key', ['create-key', '--state', 'STATE', '--key', ring], 3, 'is not the name of a key'],
    ['a key that is not there', ['rotate', '--state', 'STATE', '--key', keyA], 1, 'not found'],
    ['an unknown fault', ['fault', '--state', 'STATE', 'explode'], 2, 'not a fault'],
    ['a fault of status OK', ['serve', '--state', 'STATE', '--fault', 'fail=OK'], 2, 'not a fault'],
    ['a port that is none', ['serve', '--state', 'STATE', '--port', '70000'], 2, 'not a whole number'],
    [
      'an unknown right',
      [
        'grant',
        '--state',
        'STATE',
        '--identity',
        'a',
        '--key',
        keyA,
        '--rights',
        'root',
        '--token-file',
        'TOKEN',
      ],
      2,
      'not a right: root',
    ],
    [
      'rights on everything',
      [
        'grant',
        '--state',
        'STATE',
        '--identity',
        'a',
        '--key',
        '',
        '--rights',
        'admin',
        '--token-file',
        'TOKEN',
      ],
      2,
      'not a resource',
    ],
  ])('refuses %s and leaves no file', async (_, args, code, says) => {
    const dir = makeDir()
    const got = await emulate(
      ...args.map(arg => arg.replace('STATE', join(dir, 'kms.json')).replace('TOKEN', join(dir, 'token'))),
    )
    expect(got.stdout).toBe('')
    expect(got.code).toBe(code)
    expect(got.stderr).toContain(says)
    expect(got.stderr).toMatch(/^kms_emulator: error: .*\nhint: .*\n$/)
    expect(readdirSync(dir).filter(name => !name.endsWith('.lock'))).toEqual([])
  })
})

describe('a process that uses it', () => {
  test('says so once, however often it opens it, and prints no secret though the environment asks it to', async () => {
    const lab = await startTestKms()
    await lab.emulator.createKey(keyA)
    const token = await lab.identity('app', { [keyA]: ['encrypt', 'decrypt'] })
    const env = {
      KMS_EMULATOR_HOST: lab.emulator.endpoint,
      KMS_EMULATOR_TOKEN_FILE: token,
      GOOGLE_SDK_NODE_LOGGING: 'all',
      https_proxy: 'http://127.0.0.1:1', // must not be asked
      grpc_proxy: 'http://127.0.0.1:1',
    }
    const good = await run(probe, [keyA], env, secret)
    expect(JSON.parse(good.stdout)).toEqual({ keyUri: `gcp-kms-emulator://${keyA}`, answers: [true, true] })
    expect(good.stderr).toBe(
      `kms: using the emulator at ${lab.emulator.endpoint}, not Google: keys are not protected by an HSM\n`,
    )
    lab.emulator.setFault('wrong-checksum')
    const bad = await run(probe, [keyA], { ...env, GRPC_TRACE: 'all', GRPC_VERBOSITY: 'DEBUG' }, secret)
    expect(JSON.parse(bad.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({ code: 'KMS' })
    const leaks = [secret, Buffer.from(secret).toString('base64'), readFileSync(token, 'utf8').trim()]
    for (const leak of leaks) expect(bad.stdout + bad.stderr).not.toContain(leak)
    await lab.stop()
  })
})

describe('the state file', () => {
  test('is refused when others could read it, when it is broken, and when it is of another kind', async () => {
    const stateFile = join(makeDir(), 'kms.json')
    for (const [text, mode, code] of [
      ['{}', 0o644, 'PERMISSION'],
      ['{"format":"zt-kms-emulator/1","keyRings":{}', 0o600, 'BAD_FORMAT'],
      ['{"format":"zt-kms-emulator/2","keyRings":{},"cryptoKeys":{},"identities":{}}', 0o600, 'BAD_FORMAT'],
      [
        '{"format":"zt-kms-emulator/1","keyRings":{},"cryptoKeys":{},"identities":{},"more":1}',
        0o600,
        'BAD_FORMAT',
      ],
    ] as const) {
      rmSync(stateFile, { force: true })
      writeFileSync(stateFile, text, { mode })
      expect(startKmsEmulator({ stateFile })).rejects.toMatchObject({ code })
    }
  })

  test('a token file of somebody else is not taken over', async () => {
    const dir = makeDir()
    const store = new StateStore(join(dir, 'kms.json'))
    await operator.ensureToken(store, 'a', join(dir, 'a.token'))
    await operator.ensureToken(store, 'b', join(dir, 'b.token'))
    expect(operator.ensureToken(store, 'a', join(dir, 'b.token'))).rejects.toMatchObject({ code: 'CONFLICT' })
    await operator.ensureToken(store, 'a', join(dir, 'a.token'))
  })

  test('a port that is taken is reported as such', async () => {
    const first = await startTestKms()
    const port = Number(first.emulator.endpoint.split(':')[1])
    await expect(startKmsEmulator({ stateFile: first.stateFile, port })).rejects.toMatchObject({
      code: 'IO',
      hint: expect.stringContaining('another emulator may be running there'),
    })
    await first.stop()
  })
})

describe("Google's client as an administrator", () => {
  let lab: TestKms
  let admin: ReturnType<TestKms['raw']>
  const crypto = `${ring}/cryptoKeys/managed`

  beforeAll(async () => {
    lab = await startTestKms()
    admin = lab.raw(await lab.identity('admin', { [location]: ['admin', 'encrypt', 'decrypt'] }))
  })
  afterAll(() => lab.stop())

  const grpcCode = (call: Promise<unknown>) =>
    call.then(
      () => 'OK',
      error => (error as { code: unknown }).code,
    )
  const encrypt = (name: string) => admin.client.encrypt({ name, plaintext: Buffer.from('x') }, admin.as)
  const decrypt = (ciphertext: Uint8Array | string | null | undefined) =>
    admin.client.decrypt({ name: crypto, ciphertext: ciphertext ?? '' }, admin.as)

  test('makes rings and keys, once each', async () => {
    const { client, as } = admin
    const makeRing = () => client.createKeyRing({ parent: location, keyRingId: 'tenants' }, as)
    expect((await makeRing())[0].name).toBe(ring)
    expect(await grpcCode(makeRing())).toBe(6)
    expect((await client.getKeyRing({ name: ring }, as))[0].name).toBe(ring)
    expect((await client.listKeyRings({ parent: location }, as))[0].map(({ name }) => name)).toEqual([ring])
    const makeKey = () =>
      client.createCryptoKey(
        {
          parent: ring,
          cryptoKeyId: 'managed',
          cryptoKey: {
            purpose: 'ENCRYPT_DECRYPT',
            versionTemplate: { protectionLevel: 'HSM', algorithm: 'GOOGLE_SYMMETRIC_ENCRYPTION' },
            destroyScheduledDuration: { seconds: 0 },
          },
        },
        as,
      )
    const [key] = await makeKey()
    expect(key).toMatchObject({
      name: crypto,
      purpose: 'ENCRYPT_DECRYPT',
      versionTemplate: { protectionLevel: 'HSM' },
    })
    expect(key.primary).toMatchObject({
      name: `${crypto}/cryptoKeyVersions/1`,
      state: 'ENABLED',
      protectionLevel: 'SOFTWARE', // what it is, not what was asked for
    })
    expect(await grpcCode(makeKey())).toBe(6)
    expect(await grpcCode(client.getCryptoKey({ name: `${crypto}-other` }, as))).toBe(5)
  })

  test('lists many keys over pages', async () => {
    const wanted = Array.from({ length: 7 }, (_, i) => `${ring}/cryptoKeys/page-${i}`)
    for (const key of wanted) await lab.emulator.createKey(key)
    const [all] = await admin.client.listCryptoKeys({ parent: ring, pageSize: 3 }, admin.as)
    expect(all.map(({ name }) => name)).toEqual([crypto, ...wanted])
  })

  test('leads a version through its life', async () => {
    const { client, as } = admin
    const one = `${crypto}/cryptoKeyVersions/1`
    const [sealed] = await encrypt(crypto)
    const [second] = await client.createCryptoKeyVersion({ parent: crypto, cryptoKeyVersion: {} }, as)
    expect(second.name).toBe(`${crypto}/cryptoKeyVersions/2`)
    expect((await encrypt(crypto))[0].name).toBe(one) // a new version is not primary by itself
    await client.updateCryptoKeyPrimaryVersion({ name: crypto, cryptoKeyVersionId: '2' }, as)
    expect((await encrypt(crypto))[0].name).toBe(second.name ?? '')
    expect((await encrypt(one))[0].name).toBe(one)
    const [opened] = await decrypt(sealed.ciphertext)
    expect([Buffer.from(opened.plaintext ?? '').toString(), opened.usedPrimary]).toEqual(['x', false])

    const setState = (state: 'ENABLED' | 'DISABLED') =>
      client.updateCryptoKeyVersion(
        { cryptoKeyVersion: { name: one, state }, updateMask: { paths: ['state'] } },
        as,
      )
    await setState('DISABLED')
    expect(await grpcCode(decrypt(sealed.ciphertext))).toBe(9)
    await setState('ENABLED')
    expect(await grpcCode(decrypt(sealed.ciphertext))).toBe('OK')

    expect((await client.destroyCryptoKeyVersion({ name: one }, as))[0].state).toBe('DESTROYED')
    expect(await grpcCode(decrypt(sealed.ciphertext))).toBe(9)
    expect(await grpcCode(client.restoreCryptoKeyVersion({ name: one }, as))).toBe(9)
    const stored = new StateStore(lab.stateFile).read().cryptoKeys[crypto]?.versions ?? []
    expect(stored.map(({ material }) => material === null)).toEqual([true, false])
    const [versions] = await client.listCryptoKeyVersions({ parent: crypto }, as)
    expect(versions.map(({ state }) => state)).toEqual(['DESTROYED', 'ENABLED'])
  })

  test('restores what is scheduled for destruction, until its time has come', async () => {
    const { client, as } = admin
    const [late, soon] = [`${ring}/cryptoKeys/late`, `${ring}/cryptoKeys/soon`]
    await lab.emulator.createKey(late, { destroySeconds: 86_400 })
    await lab.emulator.createKey(soon, { destroySeconds: 1 })
    const destroy = (key: string) =>
      client
        .destroyCryptoKeyVersion({ name: `${key}/cryptoKeyVersions/1` }, as)
        .then(([version]) => version.state)
    const restore = (key: string) =>
      client
        .restoreCryptoKeyVersion({ name: `${key}/cryptoKeyVersions/1` }, as)
        .then(([version]) => version.state)
    expect(await destroy(late)).toBe('DESTROY_SCHEDULED')
    expect(await restore(late)).toBe('DISABLED')
    await destroy(soon)
    await Bun.sleep(1_050)
    expect(await grpcCode(restore(soon))).toBe(9)
    const stored = new StateStore(lab.stateFile).read().cryptoKeys
    expect(stored[soon]?.versions[0]).toMatchObject({ state: 'DESTROYED', material: null })
    expect(stored[late]?.versions[0]?.material).toBeString()
  })

  test('holds 8 KiB for a key of the HSM, 64 KiB for another', async () => {
    const soft = `${ring}/cryptoKeys/page-0`
    const size = (name: string, bytes: number) =>
      grpcCode(admin.client.encrypt({ name, plaintext: Buffer.alloc(bytes) }, admin.as))
    expect([await size(crypto, 8_192), await size(crypto, 8_193)]).toEqual(['OK', 3])
    expect([await size(soft, 65_536), await size(soft, 65_537)]).toEqual(['OK', 3])
  })

  test('refuses every method to an identity without the right, and administration to one that may only encrypt', async () => {
    const { client, as } = lab.raw(await lab.identity('guest', { [crypto]: ['encrypt', 'decrypt'] }))
    const version = `${crypto}/cryptoKeyVersions/2`
    for (const call of [
      () => client.createKeyRing({ parent: location, keyRingId: 'mine' }, as),
      () => client.getKeyRing({ name: ring }, as),
      () => client.listKeyRings({ parent: location }, as),
      () =>
        client.createCryptoKey(
          { parent: ring, cryptoKeyId: 'mine', cryptoKey: { purpose: 'ENCRYPT_DECRYPT' } },
          as,
        ),
      () => client.getCryptoKey({ name: crypto }, as),
      () => client.listCryptoKeys({ parent: ring }, as),
      () => client.createCryptoKeyVersion({ parent: crypto, cryptoKeyVersion: {} }, as),
      () => client.getCryptoKeyVersion({ name: version }, as),
      () => client.listCryptoKeyVersions({ parent: crypto }, as),
      () => client.updateCryptoKeyPrimaryVersion({ name: crypto, cryptoKeyVersionId: '2' }, as),
      () =>
        client.updateCryptoKeyVersion(
          { cryptoKeyVersion: { name: version, state: 'DISABLED' }, updateMask: { paths: ['state'] } },
          as,
        ),
      () => client.destroyCryptoKeyVersion({ name: version }, as),
      () => client.restoreCryptoKeyVersion({ name: version }, as),
      () => client.encrypt({ name: `${crypto}-2`, plaintext: Buffer.from('x') }, as), // a right on `managed` is none on `managed-2`
    ])
      expect(await grpcCode(call())).toBe(7)
    expect(await grpcCode(client.generateRandomBytes({ location, lengthBytes: 8 }, as))).toBe(12)
    expect(await grpcCode(client.encrypt({ name: crypto, plaintext: Buffer.from('x') }, as))).toBe('OK')
  })
})
