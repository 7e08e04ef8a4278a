import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { type ClientConfig, formatClientConfig, parseClientConfig } from '../../lib/core/mycnf.ts'

const full: ClientConfig = {
  user: 'app_user',
  password: 'p#w "x" \\ y',
  host: '127.0.0.1',
  port: 3306,
  sslCa: '/a b/ca.pem',
  sslCert: '/x/c.pem',
  sslKey: '/x/k.pem',
  sslMode: 'VERIFY_IDENTITY',
  tlsVersion: 'TLSv1.3',
}

describe('a [client] option file', () => {
  test('prints what it parses', () => {
    expect(parseClientConfig(formatClientConfig(full))).toEqual(full)
    const text = fc
      .string({ minLength: 0, maxLength: 40, unit: 'grapheme' })
      .filter(s => !/[\p{Cc}]/u.test(s))
    fc.assert(
      fc.property(text, password => {
        expect(parseClientConfig(formatClientConfig({ password }))).toEqual({ password })
      }),
    )
  })

  test('is read as people write it', () => {
    const text =
      '# mine\n\n[mysql]\nprompt=x\n[client]\nuser = me\n ssl_ca=\'/x/ca.pem\'\npassword="a\\sb\\\\"\n; end\n[mysqldump]\nquick\n'
    expect(parseClientConfig(text)).toEqual({ user: 'me', sslCa: '/x/ca.pem', password: 'a b\\' })
  })

  test.each([
    ['no group', 'user=x'],
    ['another group alone', '[mysql]\nuser=x'],
    ['an unknown option', '[client]\ninit-command=x'],
    ['an option twice', '[client]\nuser=a\nuser=b'],
    ['the same option in two spellings', '[client]\nssl-ca=a\nssl_ca=b'],
    ['an include', '[client]\n!include /etc/x'],
    ['an open quote', '[client]\npassword="x'],
    ['a comment that MySQL would cut a password at', '[client]\npassword=a#b'],
    ['an escape of another kind', '[client]\npassword="a\\x"'],
    ['a port that is none', '[client]\nport=0'],
    ['a port beyond', '[client]\nport=65536'],
    ['an option without a value', '[client]\nuser'],
  ])('refuses %s', (_, text) => {
    expect(() => parseClientConfig(text)).toThrow(expect.objectContaining({ code: 'BAD_FORMAT' }))
  })

  test('never repeats a value in an error', () => {
    try {
      parseClientConfig('[client]\npassword=hunter2#x')
      throw new Error('was accepted')
    } catch (thrown) {
      expect(String(thrown)).not.toContain('hunter2')
    }
  })

  test('holds no control characters', () => {
    expect(() => formatClientConfig({ user: 'a\nb' })).toThrow(expect.objectContaining({ code: 'BAD_INPUT' }))
  })
})
