import { describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join, posix, resolve } from 'node:path'
import { breachesOf, importsOf, impuritiesOf, parsersInCore } from '../support/imports.ts'

const root = resolve(import.meta.dir, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const sources = [...new Bun.Glob('{lib,sql,outside,vm,scripts}/**/*.ts').scanSync({ cwd: root })].sort()

describe('the sources', () => {
  test('keep the layers', () => {
    expect(sources).toContain('lib/core/bytes.ts')
    expect(sources.flatMap(path => breachesOf(path, read(path)))).toEqual([])
  })

  test('touch nothing of the outside in core', () => {
    const core = sources.filter(path => path.startsWith('lib/core/'))
    expect(core.length).toBeGreaterThan(3)
    expect(core.flatMap(path => impuritiesOf(path, read(path)))).toEqual([])
  })

  test('set themselves up without any package', () => {
    const seen = new Set<string>()
    const packages: string[] = []
    const walk = (path: string) => {
      if (seen.has(path)) return
      seen.add(path)
      for (const name of importsOf(read(path)))
        if (name.startsWith('.')) walk(posix.join(posix.dirname(path), name))
        else if (!/^(node|bun):/.test(name)) packages.push(`${path}: ${name}`)
    }
    walk('scripts/setup.ts')
    expect(seen.size).toBeGreaterThan(1)
    expect(packages).toEqual([])
  })
})

test('every parser in core has a decision record that names it', () => {
  for (const [name, adr] of Object.entries(parsersInCore)) {
    expect([adr, existsSync(join(root, adr))]).toEqual([adr, true])
    expect(read(adr)).toContain(name)
  }
})

describe('a breach is found', () => {
  test.each([
    ['lib/core/a.ts', "import { readFileSync } from 'node:fs'", 'core may not import node:fs'],
    ['lib/core/a.ts', "import fs from 'fs'", 'core may not import fs'],
    [
      'lib/core/a.ts',
      "import type { A } from '../edge/files.ts'",
      'core may not import edge lib/edge/files.ts',
    ],
    ['lib/core/audit/a.ts', "export * from '../../version.ts'", 'core may not import top lib/version.ts'],
    ['lib/core/a.ts', "import 'mysql2'", 'core may not import mysql2'],
    ['lib/core/a.ts', "import {\n  a,\n  b,\n} from 'commander'", 'core may not import commander'],
    ['lib/core/a.ts', "const a = await import('zx')", 'core may not import zx'],
    ['lib/core/a.ts', "type A = import('@google-cloud/kms').A", 'core may not import @google-cloud/kms'],
    ['lib/edge/a.ts', "import { $ } from 'zx/core'", 'edge may not import zx/core'],
    ['lib/edge/a.ts', "import mysql from 'mysql2/promise'", 'edge may not import mysql2/promise'],
    [
      'lib/edge/a.ts',
      "import { x } from '../client/open.ts'",
      'edge may not import client lib/client/open.ts',
    ],
    ['lib/edge/a.ts', "import { say } from '../cli.ts'", 'edge may not import top lib/cli.ts'],
    ['lib/edge/a.ts', "import x from 'left-pad'", 'edge may not import left-pad'],
    ['lib/edge/a.ts', 'const a = await import(name)', 'imports (a computed name)'],
    [
      'lib/client/a.ts',
      "import { main } from '../../vm/anchor_head.ts'",
      'client may not import entry vm/anchor_head.ts',
    ],
    ['vm/a.ts', "import { main } from './anchor_head.ts'", 'entry may not import entry vm/anchor_head.ts'],
    [
      'scripts/a.ts',
      "import { main } from '../outside/outside_pki.ts'",
      'entry may not import entry outside/outside_pki.ts',
    ],
    [
      'scripts/a.ts',
      "import { KeyManagementServiceClient } from '@google-cloud/kms'",
      'entry may not import @google-cloud/kms',
    ],
    [
      'scripts/a.ts',
      "import { x } from '../tests/support/x.ts'",
      'entry may not import unknown tests/support/x.ts',
    ],
    ['sql/index.ts', "import { q } from '../lib/edge/mysql.ts'", 'sql may not import edge lib/edge/mysql.ts'],
    ['lib/utils/a.ts', '', 'belongs to no layer'],
  ])('%s: %s', (path, source, what) => {
    expect(breachesOf(path, source)).toEqual([`${path}: ${what}`])
  })

  test.each(['process.env.X', 'Bun.file(x)', 'await fetch(x)', 'Date.now()', 'new Date()', 'console.log(1)'])(
    'in core: %s',
    code => {
      expect(impuritiesOf('lib/core/a.ts', `const a = ${code}`)).toHaveLength(1)
    },
  )
})

test('what is allowed, or only looks like an import, is no breach', () => {
  const core = [
    "import { sha256 } from '@noble/hashes/sha2.js'",
    "import { hex } from '@scure/base'",
    "import { z } from 'zod'",
    "import { lp } from './lp.ts'",
    "// import x from 'fs'",
    "/* require('fs') */",
    "const text = 'data from nowhere'",
    'const url = import.meta.url',
  ].join('\n')
  expect(breachesOf('lib/core/a.ts', core)).toEqual([])
  expect(breachesOf('lib/edge/shell.ts', "import { $ } from 'zx/core'")).toEqual([])
  expect(breachesOf('scripts/a.ts', "import { main } from '../lib/cli.ts'")).toEqual([])
  expect(
    impuritiesOf('lib/core/a.ts', '// process.env\nconst at = new Date(ms); const b = x.process.id'),
  ).toEqual([])
})
