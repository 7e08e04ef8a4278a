/** An HSM through its PKCS#11 module: which keys it takes, what becomes of a PIN, and what the compiled program says. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { newUuid, utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'
import { type KmsOptions, type OpenedKms, openKms } from '../../lib/edge/kms.ts'
import { type Cryptoki, CryptokiError, type TokenKey } from '../../lib/edge/kms_pkcs11/cryptoki.ts'
import { openService } from '../../lib/edge/kms_pkcs11/service.ts'
import { binary } from '../support/binary.ts'
import { noSofthsm, startTestToken, type TestToken } from '../support/softhsm.ts'

setDefaultTimeout(300_000)

const secret = utf8('thirty-two bytes that are secret')
const aad = utf8('a record')

// a token needs the module and the tool of Debian's softhsm2 and opensc
describe.skipIf(noSofthsm !== undefined)(`a token${noSofthsm === undefined ? '' : `: ${noSofthsm}`}`, () => {
  let token: TestToken
  const opened: OpenedKms[] = []

  beforeAll(() => {
    token = startTestToken()
    token.generate('good', '01')
  })
  afterEach(async () => {
    for (const kms of opened.splice(0)) await kms.close()
  })
  afterAll(() => token.stop())

  async function open(uri: string, more: KmsOptions = {}): Promise<OpenedKms> {
    const limits = { attemptMs: 120_000, totalMs: 240_000, pauseMs: 5 }
    const access = { pkcs11Module: token.module, pinFile: token.pinFile }
    const kms = await openKms(uri, { env: {}, limits, ...access, ...more })
    opened.push(kms)
    return kms
  }

  async function refusal(call: Promise<unknown>): Promise<{ code: string; message: string; hint: string }> {
    try {
      await call
    } catch (thrown) {
      if (!(thrown instanceof ZtError)) throw thrown
      const { code, message, hint = '' } = thrown
      for (const text of [message, hint, Bun.inspect(thrown)]) expect(text).not.toContain(token.pin)
      return { code, message, hint }
    }
    throw new Error('the call was not refused')
  }

  const sealWith = async (uri: string, more?: KmsOptions) => (await open(uri, more)).encrypt(uri, secret, aad)

  describe('which keys', () => {
    test('refuses one that may leave the token', async () => {
      token.generate('loose', '01', ['--extractable'])
      const got = await refusal(sealWith(token.uri('loose')))
      expect(got.message).toContain('the key may leave the token')
      expect(got.hint).toContain('--sensitive')
    })

    test('refuses one of 128 bits', async () => {
      token.generate('short', '01', ['--sensitive', '--key-type', 'AES:16'])
      expect((await refusal(sealWith(token.uri('short')))).message).toContain('not of AES with 256 bits')
    })

    test('refuses two of one name and id: nobody could say which one opens', async () => {
      for (let i = 0; i < 2; i++) token.generate('twin', '01')
      expect((await refusal(sealWith(token.uri('twin')))).message).toContain('have one id')
    })

    test('says that there is no such key, token or serial', async () => {
      expect((await refusal(sealWith(token.uri('absent')))).message).toContain(
        'NOT_FOUND: the token has no such key',
      )
      for (const uri of ['pkcs11:token=absent;object=good', 'pkcs11:token=zt%20test;serial=0000;object=good'])
        expect((await refusal(sealWith(uri))).message).toContain('NOT_FOUND: the module has no such token')
    })

    test('takes the version with the greatest id, and the one that the URI names', async () => {
      for (const id of ['01', '00ff', '0100']) token.generate('many', id)
      const uri = token.uri('many')
      const newest = await sealWith(uri)
      expect(Buffer.from(newest).subarray(0, 4).toString('hex')).toBe('01020100')
      const pinned = await sealWith(`${uri};id=%00%FF`)
      expect(Buffer.from(pinned).subarray(0, 4).toString('hex')).toBe('010200ff')
      // A URI is a name: under another one, even of the same key, nothing opens.
      expect((await refusal((await open(uri)).decrypt(uri, pinned, aad))).code).toBe('KMS')
      const numbered = (await open(uri)).encrypt(uri, secret, aad, 1)
      expect((await refusal(numbered)).hint).toContain('id=')
    })
  })

  describe('the PIN', () => {
    test('is sent once where it is wrong: the token counts', async () => {
      const wrong = join(token.dir, 'wrong')
      writeFileSync(wrong, 'not-the-pin\n', { mode: 0o600 })
      const starts = join(token.dir, 'starts')
      const main = join(import.meta.dir, '../../lib/edge/kms_pkcs11/main.ts')
      const counted = `echo start >> ${starts}; exec ${process.execPath} ${main}`
      const pkcs11Program = ['/bin/sh', '-c', counted]
      const kms = await open(token.uri('good'), { pinFile: wrong, pkcs11Program })
      const calls = [1, 2, 3].map(() => refusal(kms.encrypt(token.uri('good'), secret, aad)))
      for (const got of await Promise.all(calls)) {
        expect(got.code).toBe('DENIED')
        expect(got.message).toContain('C_Login said CKR_PIN_INCORRECT')
        expect(got.message).not.toContain('attempts')
      }
      expect(readFileSync(starts, 'utf8')).toBe('start\n') // each logs in once
    })

    test('stands in no argument and no environment while the module is in use', async () => {
      const kms = await open(token.uri('good'))
      await kms.encrypt(token.uri('good'), secret, aad)
      const children = readdirSync('/proc')
        .filter(name => /^\d+$/.test(name))
        .filter(pid => parentOf(pid) === process.pid)
      const lines = children.map(pid => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
      expect(lines.filter(line => line.includes('kms_pkcs11/main.ts'))).toHaveLength(1)
      for (const pid of children)
        for (const what of ['cmdline', 'environ'])
          expect(readFileSync(`/proc/${pid}/${what}`, 'utf8')).not.toContain(token.pin)
    })

    test.each([
      ['open to others', 'a-pin\n', 0o644, 'PERMISSION'],
      ['of two lines', 'a\nb\n', 0o600, 'BAD_INPUT'],
      ['empty', '', 0o600, 'BAD_INPUT'],
    ])('is not taken from a file that is %s', async (what, text, mode, code) => {
      const pinFile = join(token.dir, what.replaceAll(' ', '-'))
      writeFileSync(pinFile, text, { mode })
      expect((await refusal(open(token.uri('good'), { pinFile }))).code).toBe(code)
    })
  })

  describe('the module', () => {
    test('is ended with its process where it does not answer in time', async () => {
      const faults = join(token.dir, 'hangs.json')
      writeFileSync(faults, JSON.stringify({ kind: 'hangs', times: 1 }))
      const bent = join(import.meta.dir, '../support/pkcs11_bent.ts')
      const kms = await open(token.uri('good'), {
        pkcs11Program: [process.execPath, bent, faults],
        limits: { attemptMs: 4_000, attempts: 1 },
      })
      expect((await refusal(kms.encrypt(token.uri('good'), secret, aad))).code).toBe('UNREACHABLE')
      const left = () =>
        readdirSync('/proc').filter(pid => /^\d+$/.test(pid) && commandOf(pid).includes(faults))
      while (left().length > 0) await Bun.sleep(20)
    })

    test('ends with its client, also with one that is killed', async () => {
      const lib = join(import.meta.dir, '../../lib/edge/kms.ts')
      const script = `import { openKms } from ${JSON.stringify(lib)}
        const kms = await openKms(${JSON.stringify(token.uri('good'))}, { limits: { attemptMs: 120_000, totalMs: 240_000 } })
        await kms.encrypt(kms.keyUri, new Uint8Array(32), new Uint8Array(1))
        console.log('ready')
        setInterval(() => undefined, 1_000)`
      const env = { ...process.env, PKCS11_MODULE: token.module, PKCS11_PIN_FILE: token.pinFile }
      const client = Bun.spawn([process.execPath, '-e', script], { env, stdout: 'pipe' })
      const { value } = await client.stdout.getReader().read()
      expect(new TextDecoder().decode(value)).toBe('ready\n')
      const [pid = '', ...others] = readdirSync('/proc')
        .filter(name => /^\d+$/.test(name))
        .filter(name => parentOf(name) === client.pid)
      expect(others).toEqual([])
      expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).toContain('kms_pkcs11/main.ts')
      client.kill('SIGKILL')
      await client.exited
      while (isRunning(pid)) await Bun.sleep(20)
    })

    test.each([
      ['no library', '/etc/passwd', 'the module cannot be used'],
      ['a library of something else', '/lib/x86_64-linux-gnu/libc.so.6', 'C_GetFunctionList'],
    ])('is refused where it is %s', async (_, pkcs11Module, message) => {
      const got = await refusal(sealWith(token.uri('good'), { pkcs11Module }))
      expect([got.code, got.message.includes(message)]).toEqual(['KMS', true])
    })

    test('must be named, by an absolute path, and be there', async () => {
      const none = openKms(token.uri('good'), { env: {}, pinFile: token.pinFile })
      expect((await refusal(none)).code).toBe('USAGE')
      for (const [pkcs11Module, code] of [
        ['x.so', 'USAGE'],
        ['/nowhere/x.so', 'NOT_FOUND'],
      ] as const)
        expect((await refusal(open(token.uri('good'), { pkcs11Module }))).code).toBe(code)
    })
  })

  describe('the compiled program', () => {
    async function run(args: string[], env: Record<string, string> = {}) {
      const child = Bun.spawn([await binary('pq_envelope_cli'), ...args], {
        env: { PATH: process.env.PATH ?? '', SOFTHSM2_CONF: process.env.SOFTHSM2_CONF ?? '', ...env },
        stdin: new Blob(['{"full_name":"Ada","role":"admin","email":"ada@example.org"}']),
        stdout: 'pipe',
        stderr: 'pipe',
      })
      const [stdout, stderr, code] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
        child.exited,
      ])
      expect(stdout + stderr).not.toContain(token.pin)
      return { stdout, stderr, code }
    }

    test('seals and opens with a key of the token, which the record names without the way to it', async () => {
      const query = `?module-path=${token.module}&pin-source=file:${token.pinFile}`
      const sealed = await run(['seal', `${token.uri('good')}${query}`, newUuid(), '--input', '-'])
      expect([sealed.code, sealed.stderr]).toEqual([0, ''])
      const path = join(token.dir, 'sealed.json')
      writeFileSync(path, sealed.stdout)
      expect(JSON.parse(sealed.stdout).key.kms_key).toBe(token.uri('good'))
      const env = { PKCS11_MODULE: token.module, PKCS11_PIN_FILE: token.pinFile }
      const back = await run(['open', '--input', path], env)
      expect([back.code, JSON.parse(back.stdout).full_name]).toEqual([0, 'Ada'])
      const flags = ['--pkcs11-module', token.module, '--pin-file', token.pinFile]
      expect((await run(['open', '--input', path, ...flags])).code).toBe(0)
    })

    test('asks for the PIN at a terminal, unseen, and says how else where there is none', async () => {
      const path = join(token.dir, 'sealed.json')
      const env = { PKCS11_MODULE: token.module }
      const without = await run(['open', '--input', path], env)
      expect([without.code, without.stderr]).toEqual([2, expect.stringContaining('--pin-file')])
      const command = `${await binary('pq_envelope_cli')} open --input ${path}`
      const child = Bun.spawn(['script', '-qefc', command, '/dev/null'], {
        env: { ...process.env, ...env, TERM: 'dumb' },
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'pipe',
      })
      const reader = child.stdout.getReader()
      let shown = ''
      for (let typed = false; ; ) {
        const { value, done } = await reader.read()
        if (done) break
        shown += new TextDecoder().decode(value)
        if (typed || !shown.includes('PIN of token zt test: ')) continue
        typed = true
        child.stdin.write(`${token.pin}\r`)
        child.stdin.flush()
      }
      expect([await child.exited, shown.includes('"full_name":"Ada"')]).toEqual([0, true])
      expect(shown).not.toContain(token.pin)
    })

    test('refuses a PIN as an argument, and does not repeat it', async () => {
      const { code, stderr } = await run([
        'seal',
        `${token.uri('good')}?pin-value=${token.pin}`,
        newUuid(),
        '--input',
        '-',
      ])
      expect([code, stderr]).toEqual([3, expect.stringContaining('pin-value is refused')])
    })
  })
})

describe('rights of a key', () => {
  const key: TokenKey = {
    handle: 1n,
    label: 'k',
    id: Uint8Array.of(1),
    aes: true,
    length: 32,
    sensitive: true,
    extractable: false,
    encrypts: true,
    decrypts: true,
  }
  const sealed: Uint8Array[] = []
  const served = (change: Partial<TokenKey>) => {
    const it = { ...key, ...change }
    const never = (): never => {
      throw new CryptokiError('C_Decrypt', 0x68)
    }
    const module: Cryptoki = {
      tokens: () => [{ slot: 1n, label: 't', serial: 's' }],
      login: () => 1n,
      tokenOf: () => ({ slot: 1n, label: 't', serial: 's' }),
      keys: () => [it],
      key: () => it,
      encrypt: (_session, _handle, nonce, _aad, data) => {
        sealed.push(data)
        return [nonce, data]
      },
      decrypt: never,
    }
    return openService(module, { token: 't', object: 'k' }, utf8('pin'))
  }

  test('one that may not encrypt seals nothing', () => {
    expect(() => served({ encrypts: false }).encrypt(secret, aad)).toThrow(
      'no version of the key may encrypt',
    )
    expect(sealed).toEqual([])
  })

  test('one that may only encrypt seals, and its answer is not tried', () => {
    expect(served({ decrypts: false }).encrypt(secret, aad).output.length).toBe(2 + 1 + 12 + secret.length)
    expect(() => served({}).encrypt(secret, aad)).toThrow('C_Decrypt: 0x68')
  })
})

/** Empty where it has ended. */
const commandOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch (thrown) {
    if (!['ENOENT', 'ESRCH'].includes(String((thrown as NodeJS.ErrnoException).code))) throw thrown
    return ''
  }
}

/** False too where it has ended and nobody has asked how. */
const isRunning = (pid: string): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch (thrown) {
    if (!['ENOENT', 'ESRCH'].includes(String((thrown as NodeJS.ErrnoException).code))) throw thrown
    return false
  }
}

const parentOf = (pid: string): number => {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1])
  } catch (thrown) {
    if (!['ENOENT', 'ESRCH'].includes(String((thrown as NodeJS.ErrnoException).code))) throw thrown
    return 0 // it ended meanwhile
  }
}
