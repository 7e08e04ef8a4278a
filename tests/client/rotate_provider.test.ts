/** A tenant's keys moved from one KMS provider to another and on, by the commands that re-wrap. */
import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { makeFileKey } from '../../lib/edge/kms_file.ts'
import { binary } from '../support/binary.ts'
import { ada } from '../support/envelope.ts'
import {
  type EnvelopeDeployment,
  envelopeDeployment,
  type Household,
} from '../support/envelope_deployment.ts'
import { noSofthsm, startTestToken, type TestToken } from '../support/softhsm.ts'

setDefaultTimeout(600_000)

// a token needs the module and the tool of Debian's softhsm2 and opensc
describe.skipIf(noSofthsm !== undefined)(`a move${noSofthsm === undefined ? '' : `: ${noSofthsm}`}`, () => {
  let world: EnvelopeDeployment
  let a: Household
  let token: TestToken
  let cli: string
  let hsm: string
  let id: string

  async function run(args: string[], input: unknown = null) {
    const child = Bun.spawn([cli, ...args], {
      cwd: world.dir,
      env: {
        PATH: process.env.PATH ?? '',
        SOFTHSM2_CONF: process.env.SOFTHSM2_CONF ?? '',
        PKCS11_MODULE: token.module,
        PKCS11_PIN_FILE: token.pinFile,
        ...a.env,
      },
      stdin: new Blob([JSON.stringify(input)]),
      stdout: 'pipe',
      stderr: 'pipe',
    })
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    expect(stdout + stderr).not.toContain(token.pin)
    const lines: Record<string, unknown>[] =
      code === 0 ? stdout.split('\n').flatMap(line => (line === '' ? [] : [JSON.parse(line)])) : []
    return { code, stderr, lines }
  }

  const wrappedUnder = async (): Promise<string[]> => {
    const rows = await world.db.root.query(
      `SELECT DISTINCT kms_key AS k FROM securedb.data_keys WHERE state = 'active' AND tenant_id = UUID_TO_BIN(?)
       AND id <> UUID_TO_BIN(?)`,
      [a.tenant.id, a.tenant.dekId],
    )
    return rows.map(row => String(row.k))
  }

  beforeAll(async () => {
    ;[world, cli] = await Promise.all([envelopeDeployment(), binary('pq_envelope_cli')])
    ;[a] = world.households
    token = startTestToken()
    token.generate('tenant-a', '01')
    hsm = token.uri('tenant-a')
    expect(await run(['tenant-key', '--passphrase-file', world.passphraseFile])).toMatchObject({ code: 0 })
    const made = await run(['create', '--input', '-'], ada)
    expect(made).toMatchObject({ code: 0 })
    id = String(made.lines[0]?.id)
  })
  beforeEach(() => world.db.anchor())
  afterAll(async () => {
    token.stop()
    await world[Symbol.asyncDispose]()
  })

  test('from Google to a token: every wrap, no row, and then without Google', async () => {
    const typed = `${hsm}?module-path=${token.module}&pin-source=file:${token.pinFile}`
    const plan = await run(['rotate', '--plan', '--kms-key', typed])
    expect(plan.lines.map(({ step, why }) => [step, why])).toEqual(
      Array(3).fill(['re-wrap data key', ['another KMS key']]),
    )
    expect(await wrappedUnder()).toEqual([`gcp-kms-emulator://${a.kmsKey}`])
    expect((await run(['rotate', '--kms-key', typed])).lines).toHaveLength(3)
    expect(await wrappedUnder()).toEqual([hsm])
    expect((await run(['rotate', '--plan', '--kms-key', hsm])).lines).toEqual([])
    await world.kms.emulator.destroyKeyVersion(a.kmsKey, 1)
    expect((await run(['read', id, '--kms-key', hsm])).lines).toEqual([ada])
    expect((await run(['find', '--email', ada.email, '--kms-key', hsm])).lines).toEqual([{ id, ...ada }])
    const stranger = await run(['read', id]) // the trust folder does not list it
    expect([stranger.code, stranger.stderr]).toEqual([1, expect.stringContaining('not a key of this tenant')])
  })

  test('to a new version of the key in the token, after which the old one may go', async () => {
    token.generate('tenant-a', '02')
    expect((await run(['rotate', '--wraps', '--kms-key', hsm])).lines).toHaveLength(3)
    token.destroy('tenant-a', '01')
    expect((await run(['read', id, '--kms-key', hsm])).lines).toEqual([ada])
  })

  test('from a key that nobody vouches for: nothing moves, nothing is lost', async () => {
    const path = join(world.dir, 'trial.json')
    makeFileKey(path)
    const refused = await run(['rotate', '--kms-key', `file://${path}`]) // the trust folder does not list the token's key
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('not a key of this tenant')])
    expect(await wrappedUnder()).toEqual([hsm])
    expect((await run(['read', id, '--kms-key', hsm])).lines).toEqual([ada])
  })
})
