import { afterAll, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../../lib/core/errors.ts'
import { Journal } from '../../lib/edge/host/journal.ts'
import { fileStep } from '../../lib/edge/host/steps.ts'

const dir = mkdtempSync(join(tmpdir(), 'zt-steps-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

/** A step whose file is taken up with these results, one after the other. */
function step(...results: (ZtError | undefined)[]) {
  const path = join(dir, crypto.randomUUID())
  const take = async () => {
    const thrown = results.shift()
    if (thrown) throw thrown
  }
  const files = [{ path, bytes: 'new', mode: 0o644, ...owner }]
  const journal = new Journal(join(dir, 'journal'))
  return { path, step: fileStep({ journal }, { id: 'x', description: 'x', files, take }) }
}

const first = new ZtError('MYSQL', 'the new one is bad', { hint: 'mend the new one' })

test('a step whose files are not taken up puts back what was there, and tells why', async () => {
  const { path, step: failing } = step(first)
  await expect(failing.apply()).rejects.toBe(first)
  expect(existsSync(path)).toBe(false)
})

test('where the old files are not taken up either both reasons are told, with the hint of the first', async () => {
  const { step: failing } = step(first, new ZtError('IO', 'and the old one too', { hint: 'another' }))
  const thrown = await failing.apply().catch((error: unknown) => error)
  expect(thrown).toMatchObject({
    message: 'the new one is bad; and with the old files back: and the old one too',
    hint: 'mend the new one',
    cause: first,
  })
})
