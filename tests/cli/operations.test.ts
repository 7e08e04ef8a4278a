import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { oneclick } from '../support/oneclick.ts'

const page = readFileSync(join(resolve(import.meta.dir, '../..'), 'docs/operations.md'), 'utf8')

/** `vm_oneclick orders 000007.json`: what the page tells people to type. */
const commands = [...page.matchAll(/(?:^sudo |`)vm_oneclick ([a-z-]+)([^`\n]*)/gm)].map(
  ([, name = '', rest = '']) => ({
    name,
    flags: rest.match(/--[a-z0-9-]+/g) ?? [],
  }),
)

describe('the operations page', () => {
  test('tells commands and options that exist', async () => {
    const names = [...new Set(commands.map(command => command.name))].sort()
    expect(names).toEqual([
      'anchor',
      'announce',
      'apply',
      'backup',
      'check',
      'doctor',
      'log-host-config',
      'metrics',
      'orders',
      'plan',
      'reload-tls',
      'restore',
      'rollback',
      'status',
      'watch',
    ])
    for (const name of names) {
      const { code, stdout } = await oneclick([name, '--help'])
      expect([name, code]).toEqual([name, 0])
      for (const flag of commands.filter(command => command.name === name).flatMap(command => command.flags))
        expect([name, flag, stdout.includes(`${flag} `)]).toEqual([name, flag, true])
    }
  }, 60_000)
})
