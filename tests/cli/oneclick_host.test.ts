/** What vm_oneclick says of options for a host, before it looks at the machine that it runs on. */
import { describe, expect, test } from 'bun:test'
import { oneclick } from '../support/oneclick.ts'

describe('options of a host', () => {
  const wrong: [args: string[], env: Record<string, string>, message: string, hint: string][] = [
    [['--socket', '/tmp/x.sock'], {}, '--socket is for the database alone', '--layer database'],
    [['--conf-dir', '/tmp'], {}, '--conf-dir is for the database alone', '--layer database'],
    [['--host-part', '10.1.2.3'], {}, '--host-part is for the database alone', '--layer database'],
    [['--layer', 'network'], {}, "argument 'network' is invalid", 'vm_oneclick --help'],
    [['--allow-remote', '--allowed-cidr', '10.1.2.3/8'], {}, 'network "10.1.2.3/8"', '10.1.0.0/16'],
    [['--allowed-cidr', '10.1.0.0/16,'], {}, 'network ""', '10.1.0.0/16'],
    [['--allowed-cidr', '::/0'], {}, 'takes in too much of the internet', 'like'],
    [[], { ALLOWED_CIDR: 'everybody' }, 'network "everybody"', 'like'],
    [[], { ALLOW_REMOTE: 'yes' }, 'ALLOW_REMOTE is "yes"', 'set it to 1 or 0'],
    [['--mysql-source', 'ftp'], {}, '--mysql-source "ftp": not a source', 'give distro'],
  ]
  test.each(wrong)('%j %j are refused', async (args, env, message, hint) => {
    const { code, stdout, stderr } = await oneclick(['plan', ...args], env)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toStartWith('vm_oneclick: error: ')
    expect(stderr).toContain(message)
    expect(stderr).toContain(hint)
  })

  test('a flag wins over the environment', async () => {
    const { code, stderr } = await oneclick(['plan', '--allowed-cidr', '300.1.0.0/16'], {
      ALLOWED_CIDR: '10.1.0.0/16',
    })
    expect([code, stderr]).toEqual([2, expect.stringContaining('network "300.1.0.0/16"')])
  })

  test('are not those of the database alone', async () => {
    const { code, stdout } = await oneclick(['config', '--layer', 'database'])
    expect([code, stdout.includes('binlog_encryption'), stdout.includes('tls_version=TLSv1.3')]).toEqual([
      0,
      false,
      true,
    ])
    const host = (await oneclick(['config'])).stdout
    expect([host.includes('\nbinlog_encryption=ON\n'), host.includes('\nuser=mysql\n')]).toEqual([true, true])
  })

  test('rollback takes no option of the database', async () => {
    const { code, stderr } = await oneclick(['rollback', '--socket', '/tmp/x.sock'])
    expect([code, stderr]).toEqual([2, expect.stringContaining("unknown option '--socket'")])
  })
})
