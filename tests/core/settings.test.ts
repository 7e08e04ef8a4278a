import { describe, expect, test } from 'bun:test'
import { ZtError } from '../../lib/core/errors.ts'
import { formatOptionFile, settingDrift, settingsFor, variableOf } from '../../lib/core/settings.ts'

const settings = settingsFor({
  tlsDir: '/etc/ztmysql/tls',
  initFile: '/etc/mysql/conf.d/zt.sql',
  bindAddress: '127.0.0.1',
})

/** What a server that has them all says. */
const observed = () =>
  new Map<string, string | null>(
    settings.flatMap(s => {
      const variable = variableOf(s)
      return variable === null ? [] : [[variable, s.reads ?? s.value] as const]
    }),
  )

describe('the settings', () => {
  test('name each option and each variable once', () => {
    const options = settings.map(s => s.option)
    expect(new Set(options).size).toBe(options.length)
    const variables = settings.flatMap(s => variableOf(s) ?? [])
    expect(new Set(variables).size).toBe(variables.length)
  })

  test('say for each who asks for it and why', () => {
    for (const { option, from, why } of settings) {
      expect([
        option,
        from.every(id => /^(?:CIS \d+\.\d+(?:\.\d+)?|dev-sec [a-z]+-\d\d|design \d)$/.test(id)),
      ]).toEqual([option, true])
      expect([option, from.length > 0, why.length > 10]).toEqual([option, true, true])
    }
  })

  test('make an option file with a line for each, and none for what is only looked at', () => {
    const text = formatOptionFile(settings)
    const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
    expect(lines[0]).toBe('[mysqld]')
    expect(lines.slice(1)).toEqual(
      settings.filter(s => s.kind !== 'observed').map(s => `${s.option}=${s.value}`),
    )
    expect(lines).toContain('tls_version=TLSv1.3')
    expect(lines).toContain('ssl_key=/etc/ztmysql/tls/server-key.pem')
    expect(text).not.toContain('admin_address')
  })

  test.each([
    ['/etc/a b'],
    ['/etc/#comment'],
    ['/etc/x\nskip-grant-tables'],
    ['relative/tls'],
    ['/etc/../tmp'],
    ['/etc/"x"'],
  ])('refuse the path %j, which would mean something else in an option file', path => {
    expect(() => settingsFor({ tlsDir: path, initFile: '/x', bindAddress: '*' })).toThrow(ZtError)
    expect(() => settingsFor({ tlsDir: '/x', initFile: path, bindAddress: '*' })).toThrow(ZtError)
  })

  test('refuse a bind address that carries another option', () => {
    expect(() => settingsFor({ tlsDir: '/x', initFile: '/y', bindAddress: '*\nmysqlx=ON' })).toThrow(ZtError)
  })
})

describe('drift', () => {
  test('is none where the server says the same in its own spelling', () => {
    const server = observed()
    expect(settingDrift(settings, server)).toEqual([])
    server.set('require_secure_transport', '1').set('local_infile', '0').set('secure_file_priv', null)
    server.set('sql_mode', (server.get('sql_mode') ?? '').split(',').reverse().join())
    expect(settingDrift(settings, server)).toEqual([])
  })

  test('is found in every single variable', () => {
    for (const name of observed().keys()) {
      const server = observed().set(name, 'something else')
      expect(settingDrift(settings, server).map(d => [d.variable, d.before])).toEqual([
        [name, 'something else'],
      ])
    }
  })

  test('is found in a mode that was added or taken away, and in the order of suites', () => {
    const modes = (observed().get('sql_mode') ?? '').split(',')
    for (const value of [modes.slice(1).join(), [...modes, 'ALLOW_INVALID_DATES'].join()])
      expect(settingDrift(settings, observed().set('sql_mode', value))).toHaveLength(1)
    const suites = (observed().get('tls_ciphersuites') ?? '').split(':').reverse().join(':')
    expect(settingDrift(settings, observed().set('tls_ciphersuites', suites))).toHaveLength(1)
  })

  test('is said of a variable that the server does not know', () => {
    const server = observed()
    server.delete('mysqlx')
    expect(settingDrift(settings, server)).toMatchObject([{ variable: 'mysqlx', before: null, after: 'OFF' }])
  })
})
