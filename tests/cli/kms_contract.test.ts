/** One contract for every KMS provider: what it seals, what it refuses, and how it fails. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { utf8 } from '../../lib/core/bytes.ts'
import { usualHints, ZtError } from '../../lib/core/errors.ts'
import { parseKmsUri } from '../../lib/core/kms_uri.ts'
import { kmsProviders, type OpenedKms, openKms } from '../../lib/edge/kms.ts'
import { makeFileKey } from '../../lib/edge/kms_file.ts'
import { contracted, type FaultName, type World } from '../support/kms_contract.ts'

setDefaultTimeout(300_000)

const canary = 'canary-77aa-never-to-be-printed!'
const secret = utf8(canary)
const aad = utf8('tenant a, key 1')
const patient = { attemptMs: 120_000, connectMs: 120_000, totalMs: 240_000, pauseMs: 5 }

test('every provider stands under the contract', () => {
  const names = contracted.map(({ name }) => name.split(' ')[0])
  expect(kmsProviders.filter(known => known !== 'gcp-kms-emulator').toSorted()).toEqual(
    names.toSorted() as string[],
  )
})

// a token needs the module and the tool of Debian's softhsm2 and opensc
for (const provider of contracted)
  describe.skipIf(provider.absent !== undefined)(
    `${provider.name}${provider.absent === undefined ? '' : `: ${provider.absent}`}`,
    () => {
      let world: World
      let kms: OpenedKms

      beforeAll(async () => {
        world = await provider.start()
        kms = await world.open(world.uri, { limits: patient })
      })
      afterEach(() => world.wellAgain())
      afterAll(async () => {
        await kms.close()
        await world.stop()
      })

      /** What a call was refused with; whatever it was, no secret is in it. */
      async function refusal(
        call: Promise<unknown>,
      ): Promise<{ code: string; message: string; hint: string }> {
        try {
          await call
        } catch (thrown) {
          if (!(thrown instanceof ZtError)) throw thrown
          const { code, message, hint = usualHints[code] ?? '' } = thrown
          for (const text of [message, hint, Bun.inspect(thrown)])
            for (const value of [canary, ...world.secrets]) expect(text).not.toContain(value)
          expect(hint).not.toBe('')
          return { code, message, hint }
        }
        throw new Error('the call was not refused')
      }

      /** A test of a fault; where the provider cannot have it, the reason stands in its data. */
      const underFault = (
        fault: FaultName,
        name: string,
        act: (start: NonNullable<World['fault'][FaultName]>) => Promise<void>,
      ) => {
        const cannot = provider.cannot[fault]
        test(cannot === undefined ? name : `cannot have "${fault}": ${cannot}`, async () => {
          const start = world.fault[fault]
          expect(start === undefined).toBe(cannot !== undefined)
          if (start !== undefined) await act(start)
        })
      }

      test('opens what it sealed, never seals twice alike, and names itself', async () => {
        const [first, second] = [
          await kms.encrypt(world.uri, secret, aad),
          await kms.encrypt(world.uri, secret, aad),
        ]
        expect(first).not.toEqual(second)
        expect(Buffer.from(first).includes(canary)).toBe(false)
        expect(first.length).toBeLessThanOrEqual(1024) // kms_ciphertext
        for (const sealed of [first, second])
          expect(await kms.decrypt(world.uri, sealed, aad)).toEqual(secret)
        expect([kms.keyUri, kms.provider]).toEqual([world.uri, parseKmsUri(world.uri).provider])
      })

      test('seals many at once', async () => {
        const texts = Array.from({ length: 20 }, (_, i) => utf8(`secret ${i}`))
        const sealed = await Promise.all(texts.map(text => kms.encrypt(world.uri, text, aad)))
        expect(await Promise.all(sealed.map(each => kms.decrypt(world.uri, each, aad)))).toEqual(texts)
      })

      test('refuses other additional data, and none', async () => {
        const sealed = await kms.encrypt(world.uri, secret, aad)
        expect((await refusal(kms.decrypt(world.uri, sealed, utf8('tenant a, key 2')))).code).toBe('KMS')
        const none = new Uint8Array()
        for (const call of [
          () => kms.encrypt(world.uri, secret, none),
          () => kms.decrypt(world.uri, sealed, none),
        ])
          expect((await refusal(call())).code).toBe('BAD_LENGTH')
      })

      test('refuses a ciphertext with any byte changed, and any cut', async () => {
        const sealed = await kms.encrypt(world.uri, secret, aad)
        for (let at = 0; at < sealed.length; at++) {
          const changed = Uint8Array.from(sealed)
          changed[at] = (changed[at] ?? 0) ^ 0x80
          expect([at, (await refusal(kms.decrypt(world.uri, changed, aad))).code]).toEqual([at, 'KMS'])
        }
        for (let length = 1; length < sealed.length; length++)
          expect((await refusal(kms.decrypt(world.uri, sealed.subarray(0, length), aad))).code).toBe('KMS')
      })

      test("refuses one key's ciphertext under another", async () => {
        const other = await world.open(world.other, { limits: patient })
        const sealed = await kms.encrypt(world.uri, secret, aad)
        expect((await refusal(other.decrypt(world.other, sealed, aad))).code).toBe('KMS')
        await other.close()
      })

      test("refuses another provider's key", async () => {
        for (const foreign of contracted.map(({ name }) => name.split(' ')[0])) {
          if (foreign === undefined || kms.provider.startsWith(foreign)) continue
          const uri =
            {
              'gcp-kms': 'gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k',
              pkcs11: 'pkcs11:token=t;object=o',
              file: 'file:///t/key',
            }[foreign] ?? ''
          expect((await refusal(kms.encrypt(uri, secret, aad))).code).toBe('REFUSED')
        }
      })

      underFault(
        'hangs',
        'gives up at its deadline, and asks again when one attempt was too slow',
        async hangs => {
          const sealed = await kms.encrypt(world.uri, secret, aad)
          const [hasty, again] = [
            await world.open(world.uri, { limits: { ...patient, attemptMs: 1_000, attempts: 1 } }),
            await world.open(world.uri, { limits: { ...patient, attemptMs: 4_000 } }),
          ]
          for (const each of [hasty, again])
            await each.decrypt(world.uri, sealed, aad).catch(thrown => {
              if (thrown.code !== 'UNREACHABLE') throw thrown // it may be too hasty for a busy machine
            })
          await hangs()
          for (const call of [
            () => hasty.encrypt(world.uri, secret, aad),
            () => hasty.decrypt(world.uri, sealed, aad),
          ])
            expect((await refusal(call())).code).toBe('UNREACHABLE')
          await hangs(1)
          expect(await again.decrypt(world.uri, sealed, aad)).toEqual(secret)
          for (const each of [hasty, again]) await each.close()
        },
      )

      underFault('away', 'rides out a moment of absence, and gives up on a longer one', async away => {
        await away(2)
        const sealed = await kms.encrypt(world.uri, secret, aad)
        await away(2)
        expect(await kms.decrypt(world.uri, sealed, aad)).toEqual(secret)
        await away()
        for (const call of [
          () => kms.encrypt(world.uri, secret, aad),
          () => kms.decrypt(world.uri, sealed, aad),
        ]) {
          const got = await refusal(call())
          expect(got.code).toBe('UNREACHABLE')
          expect(got.message).toContain('(after 5 attempts)')
        }
      })

      underFault('corrupts', 'finds a damaged answer, asks again, and gives up', async corrupts => {
        await corrupts(2)
        const sealed = await kms.encrypt(world.uri, secret, aad)
        await world.wellAgain()
        expect(await kms.decrypt(world.uri, sealed, aad)).toEqual(secret)
        await corrupts(2)
        expect(await kms.decrypt(world.uri, sealed, aad)).toEqual(secret)
        await corrupts()
        for (const call of [
          () => kms.encrypt(world.uri, secret, aad),
          () => kms.decrypt(world.uri, sealed, aad),
        ]) {
          const got = await refusal(call())
          expect(got.code).toBe('KMS')
          expect(got.message).toContain('damaged answer: ')
          expect(got.message).toContain('(after 3 attempts)')
        }
      })

      underFault('another key', 'refuses the answer of another key, at once', async another => {
        await another(1)
        const got = await refusal(kms.encrypt(world.uri, secret, aad))
        expect(got.code).toBe('KMS')
        expect(got.message).toContain('made with another key')
      })

      underFault('refuses', 'says that it may not, and does not ask again', async refuses => {
        await refuses()
        const nobody = world.open(world.uri, { limits: patient }).then(async fresh => {
          try {
            return await fresh.encrypt(world.uri, secret, aad)
          } finally {
            await fresh.close()
          }
        })
        const got = await refusal(nobody)
        expect(got.code).toBe(provider.refusal)
        expect(got.message).not.toContain('attempts')
      })

      test('opens after a rotation what was sealed before it; a destroyed version opens nothing, and seals nothing', async () => {
        const old = await kms.encrypt(world.uri, secret, aad)
        await world.rotate()
        expect(await kms.decrypt(world.uri, old, aad)).toEqual(secret)
        const fresh = await kms.encrypt(world.uri, secret, aad)
        await world.destroyFirst()
        expect(await kms.decrypt(world.uri, fresh, aad)).toEqual(secret)
        const got = await refusal(kms.decrypt(world.uri, old, aad))
        expect(got.code).toBe('KMS')
        expect(got.hint).toContain('stays sealed')
        expect(await kms.decrypt(world.uri, await kms.encrypt(world.uri, secret, aad), aad)).toEqual(secret)
      })
    },
  )

test('a key in a file says each time that it is for trials alone', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zt-trial-'))
  try {
    makeFileKey(join(dir, 'key.json'))
    const warnings: string[] = []
    for (let i = 0; i < 2; i++)
      await openKms(`file://${dir}/key.json`, { env: {}, warn: line => warnings.push(line) })
    expect(warnings).toEqual(
      Array(2).fill(
        `kms: file://${dir}/key.json is a key in a file, for trials alone: whoever reads the file opens everything under it`,
      ),
    )
    expect(() => makeFileKey(join(dir, 'key.json'))).toThrow('exists already')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('a scheme that no provider has is refused when its key is opened', async () => {
  expect(openKms('next-kms://any/key')).rejects.toThrow('next-kms:// names no known provider')
})
