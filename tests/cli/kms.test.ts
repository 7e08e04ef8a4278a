/** The KMS client against a real gRPC service: what it accepts, what it refuses, and what it says. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createServer, type Server } from 'node:net'
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { type OpenedKms, openKms } from '../../lib/edge/kms.ts'
import { readKmsConfig } from '../../lib/edge/kms_config.ts'
import { keyA, keyB, startTestKms, type TestKms } from '../support/kms.ts'

setDefaultTimeout(60_000) // processes on a busy machine

const uriA = `gcp-kms-emulator://${keyA}`
const uriB = `gcp-kms-emulator://${keyB}`
const canary = 'canary-4f1c-never-to-be-printed!'
const secret = utf8(canary)
const aad = utf8('tenant a, record 1')

let lab: TestKms
let tokenA: string
let kms: OpenedKms

beforeAll(async () => {
  lab = await startTestKms()
  await lab.emulator.createKey(keyA)
  await lab.emulator.createKey(keyB)
  tokenA = await lab.identity('app-a', { [keyA]: ['encrypt', 'decrypt'] })
  kms = await lab.open(keyA, tokenA, { limits: { pauseMs: 5 } })
})
afterEach(() => lab.emulator.setFault())
afterAll(() => lab.stop())

interface Refusal {
  code: string
  /** gRPC status of the cause, if it has one. */
  grpc: unknown
  message: string
  hint: string
}

/** What a call was refused with; whatever it was, the plaintext is not in it. */
async function refusal(call: Promise<unknown>): Promise<Refusal> {
  try {
    await call
  } catch (thrown) {
    if (!(thrown instanceof ZtError)) throw thrown
    const { code, message, hint = '', cause } = thrown
    for (const text of [message, hint, Bun.inspect(thrown)]) expect(text).not.toContain(canary)
    return { code, message, hint, grpc: (cause as { code?: unknown } | undefined)?.code }
  }
  throw new Error('the call was not refused')
}

describe('a good service', () => {
  test('opens what it sealed, and never seals twice alike', async () => {
    const first = await kms.encrypt(uriA, secret, aad)
    const second = await kms.encrypt(uriA, secret, aad)
    expect(first).not.toEqual(second)
    expect(Buffer.from(first).includes(canary)).toBe(false)
    expect(await kms.decrypt(uriA, first, aad)).toEqual(secret)
    expect(await kms.decrypt(uriA, second, aad)).toEqual(secret)
    expect([kms.provider, kms.keyUri]).toEqual(['gcp-kms-emulator', uriA])
  })

  test('takes plaintext and additional data of 8 KiB together, and refuses a byte more before it is sent', async () => {
    const fits = new Uint8Array(8_192 - aad.length).fill(7)
    expect(await kms.decrypt(uriA, await kms.encrypt(uriA, fits, aad), aad)).toEqual(fits)
    lab.emulator.setFault('fail=INTERNAL') // a call that got there would say so
    const more = await refusal(kms.encrypt(uriA, new Uint8Array(fits.length + 1), aad))
    expect(more).toMatchObject({
      code: 'BAD_LENGTH',
      message: 'kms: plaintext: expected 1 to 8174 bytes, got 8175',
    })
  })

  test('is never called without additional data, without data, or with a huge ciphertext', async () => {
    lab.emulator.setFault('fail=INTERNAL')
    const none = new Uint8Array()
    for (const call of [
      () => kms.encrypt(uriA, secret, none),
      () => kms.decrypt(uriA, secret, none),
      () => kms.encrypt(uriA, none, aad),
      () => kms.decrypt(uriA, none, aad),
      () => kms.encrypt(uriA, secret, new Uint8Array(8_193)),
      () => kms.decrypt(uriA, new Uint8Array(16_385), aad),
    ])
      expect((await refusal(call())).code).toBe('BAD_LENGTH')
  })
})

describe('what does not belong together', () => {
  test('refuses other additional data with INVALID_ARGUMENT', async () => {
    const sealed = await kms.encrypt(uriA, secret, aad)
    const got = await refusal(kms.decrypt(uriA, sealed, utf8('tenant a, record 2')))
    expect(got).toMatchObject({ code: 'KMS', grpc: 3 })
    expect(got.message).toContain(uriA)
    expect(got.hint).toContain('does not belong to this key and context')
  })

  test('refuses a ciphertext with any byte changed, and any cut', async () => {
    const sealed = await kms.encrypt(uriA, secret, aad)
    for (let at = 0; at < sealed.length; at++) {
      const changed = Uint8Array.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ 0x80
      expect(await refusal(kms.decrypt(uriA, changed, aad))).toMatchObject({ code: 'KMS', grpc: 3 })
    }
    for (const cut of [sealed.subarray(1), sealed.subarray(0, -1), sealed.subarray(0, 20)])
      expect(await refusal(kms.decrypt(uriA, cut, aad))).toMatchObject({ code: 'KMS', grpc: 3 })
  })

  test("refuses one tenant's ciphertext under another tenant's key", async () => {
    const both = await lab.open(
      keyA,
      await lab.identity('both', { [keyA]: ['encrypt'], [keyB]: ['decrypt'] }),
    )
    const sealed = await both.encrypt(uriA, secret, aad)
    expect(await refusal(both.decrypt(uriB, sealed, aad))).toMatchObject({ code: 'KMS', grpc: 3 })
  })
})

describe('identities', () => {
  test("is denied another tenant's key, existing or not, in the same words", async () => {
    const missing = `${uriB}-missing`
    for (const uri of [uriB, missing])
      for (const call of [() => kms.encrypt(uri, secret, aad), () => kms.decrypt(uri, secret, aad)]) {
        const got = await refusal(call())
        expect(got).toMatchObject({ code: 'DENIED', grpc: 7 })
        expect(got.message).toContain('(or it may not exist)')
      }
  })

  test('has each right on its own', async () => {
    const writer = await lab.open(keyA, await lab.identity('writer', { [keyA]: ['encrypt'] }))
    const reader = await lab.open(keyA, await lab.identity('reader', { [keyA]: ['decrypt'] }))
    const sealed = await writer.encrypt(uriA, secret, aad)
    expect(await reader.decrypt(uriA, sealed, aad)).toEqual(secret)
    expect(await refusal(writer.decrypt(uriA, sealed, aad))).toMatchObject({ code: 'DENIED', grpc: 7 })
    expect(await refusal(reader.encrypt(uriA, secret, aad))).toMatchObject({ code: 'DENIED', grpc: 7 })
  })

  test('loses what is taken away from it, at once', async () => {
    const leaver = await lab.open(keyA, await lab.identity('leaver', { [keyA]: ['encrypt'] }))
    await leaver.encrypt(uriA, secret, aad)
    await lab.emulator.grant('leaver', [{ resource: keyA, rights: [] }])
    expect(await refusal(leaver.encrypt(uriA, secret, aad))).toMatchObject({ code: 'DENIED', grpc: 7 })
    await lab.emulator.removeIdentity('leaver')
    expect(await refusal(leaver.encrypt(uriA, secret, aad))).toMatchObject({ code: 'DENIED', grpc: 16 })
  })

  test('is nobody without a token, or with one the service does not know', async () => {
    const stranger = `${lab.dir}/stranger.token`
    await Bun.write(stranger, `${'x'.repeat(43)}\n`)
    await Bun.$`chmod 600 ${stranger}`
    for (const tokenFile of [undefined, stranger]) {
      const nobody = await lab.open(keyA, tokenFile)
      expect(await refusal(nobody.encrypt(uriA, secret, aad))).toMatchObject({ code: 'DENIED', grpc: 16 })
    }
  })

  test('refuses a token file that others can read', async () => {
    const loose = `${lab.dir}/loose.token`
    await Bun.write(loose, `${'x'.repeat(43)}\n`)
    await Bun.$`chmod 644 ${loose}`
    expect((await refusal(lab.open(keyA, loose))).code).toBe('PERMISSION')
  })
})

describe('an answer that was damaged', () => {
  test.each([
    ['encrypt', 'corrupt-answer', 'CRC32C of the ciphertext does not match'],
    ['encrypt', 'truncate-answer', 'CRC32C of the ciphertext does not match'],
    ['encrypt', 'wrong-checksum', 'CRC32C of the ciphertext does not match'],
    ['encrypt', 'no-checksum', 'no checksum of the ciphertext'],
    ['encrypt', 'unverified-plaintext', 'the KMS did not verify the checksum of the plaintext'],
    ['encrypt', 'unverified-aad', 'the KMS did not verify the checksum of the additional data'],
    ['decrypt', 'corrupt-answer', 'CRC32C of the plaintext does not match'],
    ['decrypt', 'truncate-answer', 'CRC32C of the plaintext does not match'],
    ['decrypt', 'wrong-checksum', 'CRC32C of the plaintext does not match'],
    ['decrypt', 'no-checksum', 'no checksum of the plaintext'],
  ] as const)('%s: finds %s, asks again, and gives up', async (verb, fault, finding) => {
    const sealed = await kms.encrypt(uriA, secret, aad)
    const call = () => (verb === 'encrypt' ? kms.encrypt(uriA, secret, aad) : kms.decrypt(uriA, sealed, aad))
    lab.emulator.setFault(fault)
    const got = await refusal(call())
    expect(got).toMatchObject({ code: 'KMS', grpc: undefined })
    expect(got.message).toContain(`damaged answer: ${finding} (after 3 attempts)`)
    lab.emulator.setFault(`${fault}*2`)
    const answer = await call()
    expect(verb === 'encrypt' ? await kms.decrypt(uriA, answer, aad) : answer).toEqual(secret)
  })

  test('a request that arrived damaged is refused by the service through its checksum', async () => {
    const sealed = await kms.encrypt(uriA, secret, aad)
    for (const [method, call] of [
      ['Encrypt', () => kms.encrypt(uriA, secret, aad)],
      ['Decrypt', () => kms.decrypt(uriA, sealed, aad)],
    ] as const) {
      lab.emulator.setFault(`corrupt-request@${method}`)
      const got = await refusal(call())
      expect(got).toMatchObject({ code: 'KMS', grpc: 3 })
      expect(got.message).toContain('checksum in field')
    }
  })

  test("another key's answer is refused at once, not asked for again", async () => {
    lab.emulator.setFault('wrong-key-name*1')
    const got = await refusal(kms.encrypt(uriA, secret, aad))
    expect(got.code).toBe('KMS')
    expect(got.message).toContain(`made with another key: "${keyA}-other/cryptoKeyVersions/1"`)
  })
})

describe('a service in trouble', () => {
  test.each(['UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'DEADLINE_EXCEEDED', 'ABORTED'])(
    'rides out %s',
    async status => {
      lab.emulator.setFault(`fail=${status}*2`)
      const sealed = await kms.encrypt(uriA, secret, aad)
      expect(await kms.decrypt(uriA, sealed, aad)).toEqual(secret)
    },
  )

  test.each([
    ['UNAVAILABLE', 'UNREACHABLE', 14],
    ['DEADLINE_EXCEEDED', 'UNREACHABLE', 4],
    ['RESOURCE_EXHAUSTED', 'KMS', 8],
  ])('gives up on lasting %s after five attempts', async (status, code, grpc) => {
    lab.emulator.setFault(`fail=${status}*5`) // the sixth would succeed
    const got = await refusal(kms.encrypt(uriA, secret, aad))
    expect(got).toMatchObject({ code, grpc })
    expect(got.message).toContain(`${status}: `)
    expect(got.message).toContain('(after 5 attempts)')
  })

  test.each([
    ['PERMISSION_DENIED', 'DENIED', 7],
    ['UNAUTHENTICATED', 'DENIED', 16],
    ['INVALID_ARGUMENT', 'KMS', 3],
    ['NOT_FOUND', 'KMS', 5],
    ['FAILED_PRECONDITION', 'KMS', 9],
    ['INTERNAL', 'KMS', 13],
  ])('never asks again after %s', async (status, code, grpc) => {
    lab.emulator.setFault(`fail=${status}*1`) // the second would succeed
    const got = await refusal(kms.encrypt(uriA, secret, aad))
    expect(got).toMatchObject({ code, grpc })
    expect(got.message).not.toContain('attempts')
  })

  test('waits no longer than the deadline of an attempt, and no longer than all of them', async () => {
    const hasty = await lab.open(keyA, tokenA, { limits: { attemptMs: 500, totalMs: 1_200, pauseMs: 5 } })
    await hasty.encrypt(uriA, secret, aad)
    lab.emulator.setFault('latency=60000')
    const start = performance.now()
    const got = await refusal(hasty.encrypt(uriA, secret, aad))
    expect(got).toMatchObject({ code: 'UNREACHABLE', grpc: 4 })
    expect(performance.now() - start).toBeLessThan(10_000)
  })

  test('asks again when one attempt was too slow', async () => {
    const patient = await lab.open(keyA, tokenA, { limits: { attemptMs: 500, pauseMs: 5 } })
    const sealed = await patient.encrypt(uriA, secret, aad)
    lab.emulator.setFault('latency=60000*1')
    expect(await patient.decrypt(uriA, sealed, aad)).toEqual(secret)
  })
})

describe('no service', () => {
  const servers: Server[] = []
  afterAll(() => {
    for (const server of servers) server.close()
  })

  /** A TCP port where `greet` decides what comes back. */
  async function listen(greet: (write: (text: string) => void) => void): Promise<string> {
    const server = createServer(socket => {
      socket.on('error', () => socket.destroy()) // the client hangs up as it likes
      greet(text => socket.write(text))
    })
    servers.push(server)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no TCP port')
    return `127.0.0.1:${address.port}`
  }

  async function timed(emulatorHost: string, limits = {}): Promise<Refusal & { ms: number }> {
    const lost = await openKms(keyA, {
      env: {},
      emulatorHost,
      tokenFile: tokenA,
      warn: () => undefined,
      limits,
    })
    const start = performance.now()
    const got = await refusal(lost.encrypt(uriA, secret, aad))
    await lost.close()
    return { ...got, ms: performance.now() - start }
  }

  test('says within seconds that nobody listens', async () => {
    const gone = await startTestKms()
    await gone.stop()
    const got = await timed(gone.emulator.endpoint)
    expect(got.code).toBe('UNREACHABLE')
    expect(got.message).toContain(gone.emulator.endpoint)
    expect(got.ms).toBeLessThan(5_000)
  })

  test('says within the time for connecting that somebody listens and never speaks', async () => {
    const got = await timed(await listen(() => undefined), { connectMs: 500 })
    expect(got).toMatchObject({ code: 'UNREACHABLE', grpc: 4 })
    expect(got.ms).toBeLessThan(8_000) // the deadline of an attempt is 10 s
  })

  test('says that what answers is no KMS', async () => {
    const web = await listen(write => write('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n'))
    const got = await timed(web, { connectMs: 1_000 })
    expect(got.code).toBe('UNREACHABLE')
    expect(got.ms).toBeLessThan(5_000)
  })

  test('comes back when the service does', async () => {
    const first = await startTestKms()
    await first.emulator.createKey(keyA)
    const port = Number(first.emulator.endpoint.split(':')[1])
    const client = await first.open(keyA, await first.identity('app', { [keyA]: ['encrypt', 'decrypt'] }))
    const sealed = await client.encrypt(uriA, secret, aad)
    await first.emulator.stop()
    const restarted = startTestKms({ stateFile: first.stateFile, port })
    expect(await client.decrypt(uriA, sealed, aad)).toEqual(secret)
    await (await restarted).stop()
    await first.stop()
  })
})

describe('versions of a key', () => {
  test('opens after a rotation what was sealed before it, and seals with the new version', async () => {
    const key = `${keyA}-rotated`
    const uri = `gcp-kms-emulator://${key}`
    await lab.emulator.createKey(key)
    const client = await lab.open(key, await lab.identity('rotator', { [key]: ['encrypt', 'decrypt'] }))
    const old = await client.encrypt(uri, secret, aad)
    expect(await lab.emulator.rotateKey(key)).toBe(2)
    const young = await client.encrypt(uri, secret, aad)
    expect([old[4], young[4]]).toEqual([1, 2]) // the version, last byte of its u32
    expect(await client.decrypt(uri, old, aad)).toEqual(secret)
    expect(await client.decrypt(uri, young, aad)).toEqual(secret)

    await lab.emulator.destroyKeyVersion(key, 1)
    const got = await refusal(client.decrypt(uri, old, aad))
    expect(got).toMatchObject({ code: 'KMS', grpc: 9 })
    expect(got.message).toContain('current state is: DESTROY_SCHEDULED')
    expect(await client.decrypt(uri, young, aad)).toEqual(secret)
  })
})

describe('which KMS', () => {
  const google = `gcp-kms://${keyA}`

  test('a bare name is the emulator’s only where the emulator is configured', () => {
    expect(readKmsConfig({ env: {} }).provider).toBe('gcp-kms')
    expect(readKmsConfig({ env: { KMS_EMULATOR_HOST: '' } }).provider).toBe('gcp-kms')
    expect(readKmsConfig({ env: { KMS_EMULATOR_HOST: '127.0.0.1:9010' } }).provider).toBe('gcp-kms-emulator')
  })

  test("refuses Google's key while the emulator is configured, at every call", async () => {
    for (const call of [
      () => lab.open(google, tokenA),
      () => kms.encrypt(google, secret, aad),
      () => kms.decrypt(google, secret, aad),
    ]) {
      const got = await refusal(call())
      expect(got.code).toBe('REFUSED')
      expect(got.message).toContain('belongs to Google, but the emulator is configured')
    }
  })

  test("refuses the emulator's key where it is not configured", async () => {
    const got = await refusal(openKms(uriA, { env: {} }))
    expect(got.code).toBe('REFUSED')
    expect(got.hint).toContain('KMS_EMULATOR_HOST')
  })

  test('takes only canonical names for sealing and opening', async () => {
    for (const uri of [keyA, `${uriA}/cryptoKeyVersions/1`])
      for (const call of [() => kms.encrypt(uri, secret, aad), () => kms.decrypt(uri, secret, aad)])
        expect((await refusal(call())).code).toBe('BAD_FORMAT')
  })

  test.each([
    '0.0.0.0:9010',
    '10.0.0.7:9010',
    '169.254.169.254:80',
    '[::]:9010',
    '[2001:db8::1]:9010',
    'kms.example.com:9010',
    'localhost.example.com:9010',
    '127.0.0.1.example.com:9010',
    '127.1.2.999:9010',
  ])('refuses an emulator at %s unless it is allowed', address => {
    const env = { KMS_EMULATOR_HOST: address }
    expect(() => readKmsConfig({ env })).toThrow(/is not a loopback address/)
    expect(readKmsConfig({ env, allowRemoteEmulator: true }).endpoint).toBe(address)
  })

  test.each(['127.0.0.1', '127.0.0.1:0', '127.0.0.1:70000', 'http://127.0.0.1:9010', ':9010', '::1:9010'])(
    'refuses %s as an address, allowed or not',
    address => {
      const env = { KMS_EMULATOR_HOST: address }
      expect(() => readKmsConfig({ env, allowRemoteEmulator: true })).toThrow(/not host:port/)
    },
  )

  test('takes localhost as 127.0.0.1, without looking it up', () => {
    expect(readKmsConfig({ env: { KMS_EMULATOR_HOST: 'localhost:9010' } }).endpoint).toBe('127.0.0.1:9010')
    expect(readKmsConfig({ env: { KMS_EMULATOR_HOST: '[::1]:9010' } }).endpoint).toBe('[::1]:9010')
  })
})
