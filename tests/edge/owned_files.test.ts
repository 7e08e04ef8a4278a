import { afterAll, beforeEach, describe, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatPlan } from '../../lib/core/plan.ts'
import { fileChange, ownerOf, putFile } from '../../lib/edge/owned_files.ts'

const dir = mkdtempSync(join(tmpdir(), 'zt-owned-'))
afterAll(() => rmSync(dir, { recursive: true }))
const path = join(dir, 'a.conf')
const wanted = (bytes: string, mode = 0o644) => ({ path, bytes, mode, ...ownerOf(dir) })
const there = (bytes: string | Uint8Array, mode = 0o644) => {
  writeFileSync(path, bytes)
  chmodSync(path, mode)
}
const diffOf = (bytes: string, mode?: number) => fileChange(wanted(bytes, mode))[0]?.diff

beforeEach(() => rmSync(path, { force: true }))

describe('what a plan shows of a file', () => {
  test('is the lines that come and go, with those around them', () => {
    there('1\n2\n3\n4\nport = 22\n6\n7\n8\n')
    const changes = fileChange(wanted('1\n2\n3\n4\nport = 2222\n6\n7\n8\n'))
    const step = { id: 'ssh', description: 'set the port', changes, apply: async () => undefined }
    expect(formatPlan({ steps: [step], findings: [], restart: [] }).slice(2)).toEqual([
      '      @@ -3,5 +3,5 @@',
      '       3',
      '       4',
      '      -port = 22',
      '      +port = 2222',
      '       6',
      '       7',
    ])
  })

  test('is all of one that comes, and nothing of one that stays', () => {
    expect(diffOf('a\nb\n')).toEqual(['@@ -1,0 +1,2 @@', '+a', '+b'])
    putFile(wanted('a\n'))
    expect(fileChange(wanted('a\n'))).toEqual([])
  })

  test('is no line where only the mode differs', () => {
    there('a\n', 0o666)
    expect(fileChange(wanted('a\n'))[0]).not.toHaveProperty('diff')
  })

  test.each([
    ['was not everybody’s to read', () => there('secret\n', 0o600), 0o644],
    ['shall not be everybody’s to read', () => there('old\n'), 0o640],
    ['comes and shall not be everybody’s to read', () => undefined, 0o600],
    ['is no text', () => there(new Uint8Array([0xff, 0xfe, 0x00])), 0o644],
    ['is long', () => there('x'.repeat(70_000)), 0o644],
  ])('is nothing of one that %s', (_, prepare, mode) => {
    prepare()
    const [change] = fileChange(wanted('new\n', mode))
    expect(change?.after).toContain('sha256:')
    expect(change).not.toHaveProperty('diff')
  })

  test('reaches no terminal as an escape', () => {
    there('\u001b[2J\u202egone\r\n')
    expect(diffOf('')?.join('')).toBe(String.raw`@@ -1,1 +1,0 @@-\u001b[2J\u202egone\u000d`)
  })
})
