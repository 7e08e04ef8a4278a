/** The road to Google: real TLS, real credentials, and nothing but the environment to tell the client where to go. */
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startFakeGoogle } from '../support/google.ts'
import { keyA } from '../support/kms.ts'

setDefaultTimeout(60_000) // processes on a busy machine

const secret = 'canary-9b2e-never-to-be-printed!'
const probe = join(import.meta.dir, '../support/kms_probe.ts')

const homes: string[] = []

function makeHome(): string {
  const dir = mkdtempSync(join(tmpdir(), 'zt-adc-'))
  homes.push(dir)
  return dir
}
afterAll(() => {
  for (const dir of homes) rmSync(dir, { recursive: true })
})

async function run(env: Record<string, string>) {
  const child = Bun.spawn([process.execPath, probe, keyA], {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdin: new Blob([secret]),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { answer: JSON.parse(stdout) as Record<string, unknown>, stderr }
}

describe("Google's endpoint", () => {
  test('is reached over TLS as the service account of the environment, and never called an emulator', async () => {
    const google = await startFakeGoogle(keyA)
    const { answer, stderr } = await run(google.env)
    await google.stop()
    expect(answer).toEqual({ keyUri: `gcp-kms://${keyA}`, answers: [true, true] })
    expect(new Set(google.connected)).toEqual(new Set(['cloudkms.googleapis.com:443']))
    const caller = { sub: 'writer@zt-test.iam.gserviceaccount.com', aud: 'https://cloudkms.googleapis.com/' }
    expect(google.callers).toEqual([caller, caller, caller, caller])
    expect(stderr).toBe('')
  })

  test('is not believed with a certificate for another name, and is told nothing', async () => {
    const impostor = await startFakeGoogle(keyA, 'impostor.example.com')
    const { answer } = await run(impostor.env)
    await impostor.stop()
    expect(answer.code).toBe('TLS')
    expect(answer.message).toContain('ERR_TLS_CERT_ALTNAME_INVALID')
    expect(impostor.callers).toEqual([])
    expect(answer.message).not.toContain('attempts') // a wrong certificate stays wrong
  })

  test('is not asked without credentials, and the error says how to get some', async () => {
    const dir = makeHome()
    const { answer } = await run({ HOME: dir, METADATA_SERVER_DETECTION: 'none' })
    expect(answer).toMatchObject({ code: 'DENIED' })
    expect(answer.message).toContain('cloudkms.googleapis.com:443: no usable credentials')
    expect(answer.hint).toContain('gcloud auth application-default login')
  })

  test('a broken credentials file is reported without a piece of it', async () => {
    const dir = makeHome()
    const file = join(dir, 'account.json')
    writeFileSync(file, `{"private_key": ${secret}}`)
    const { answer, stderr } = await run({ HOME: dir, GOOGLE_APPLICATION_CREDENTIALS: file })
    expect(answer.code).toBe('DENIED')
    expect(answer.message).toContain('the credentials file is not valid JSON')
    expect(JSON.stringify(answer) + stderr).not.toContain('canary')
  })
})
