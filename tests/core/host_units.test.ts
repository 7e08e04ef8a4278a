import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { ZtError } from '../../lib/core/errors.ts'
import {
  formatLogHost,
  formatReceiver,
  formatShipping,
  parseLogHost,
} from '../../lib/core/host/log_shipping.ts'
import {
  anchorService,
  exceptionsMarkdown,
  formatUnit,
  parseExposure,
  timers,
  unitsOf,
} from '../../lib/core/host/units.ts'

const places = { user: 'anchor', state: '/var/lib/ztmysql/anchor', worm: '/mnt/worm', ships: true }
const text = formatUnit(anchorService(places))

describe('the unit of the anchor', () => {
  test('is fenced in, and says why where it is not', () => {
    for (const line of [
      'User=anchor',
      'NoNewPrivileges=yes',
      'ProtectSystem=strict',
      'PrivateNetwork=yes',
      'PrivateUsers=yes',
      'RestrictAddressFamilies=AF_UNIX',
      'CapabilityBoundingSet=',
      'SystemCallFilter=@system-service',
      'SystemCallFilter=~@privileged @resources',
      'TimeoutStartSec=240',
      'ReadWritePaths=-/var/lib/ztmysql/anchor -/mnt/worm -/var/log/ztmysql',
      'Environment=ANCHOR_STATE=/var/lib/ztmysql/anchor WORM_DIR=/mnt/worm ANCHOR_SHIP=/var/log/ztmysql',
      'ExecStart=/usr/local/sbin/vm_oneclick anchor run',
    ])
      expect(text.split('\n')).toContain(line)
    expect(text).not.toContain('MemoryDenyWriteExecute=yes')
    expect(text).toMatch(/^# without MemoryDenyWriteExecute=: .{20,}$/m)
  })

  test('reaches a store in the network, and says so', () => {
    const bucket = formatUnit(anchorService({ ...places, worm: 'gs://bucket/log/' }))
    const lines = bucket.split('\n')
    expect(lines).toContain('RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6')
    expect(lines).toContain('ReadWritePaths=-/var/lib/ztmysql/anchor -/var/log/ztmysql')
    expect(bucket).not.toMatch(/^(PrivateNetwork|IPAddressDeny)=/m)
    expect(bucket).toMatch(/^# without PrivateNetwork=, .*: the store is reached over the network/m)
    expect(formatUnit(anchorService({ ...places, worm: 'file:///mnt/worm' }))).toContain(
      'ReadWritePaths=-/var/lib/ztmysql/anchor -/mnt/worm -',
    )
  })

  test('writes no lines for a log host that there is not', () => {
    const alone = formatUnit(anchorService({ ...places, ships: false }))
    expect(alone).not.toContain('/var/log/ztmysql')
    expect(alone).not.toContain('ANCHOR_SHIP')
  })

  test('takes a path as it is', () => {
    const odd = formatUnit(anchorService({ ...places, worm: '/mnt/100% sure' }))
    expect(odd).toContain('WORM_DIR=/mnt/100%%\\x20sure')
  })

  test('ends before the gate closes', () => {
    const seconds = Number(/^TimeoutStartSec=([0-9]+)$/m.exec(text)?.[1])
    expect(seconds).toBeLessThan(300)
  })
})

describe('the units', () => {
  test('have their missing fences on the operations page', () => {
    const page = readFileSync(resolve(import.meta.dir, '../../docs/operations.md'), 'utf8')
    expect(page).toContain(`|---|---|---|\n${exceptionsMarkdown()}\n\n`)
  })

  test('anchor each minute, to the second, and make up for what was missed', () => {
    const timer = formatUnit(
      unitsOf(places).find(({ name }) => name === 'ztmysql-anchor.timer') ?? anchorService(places),
    )
    for (const line of ['OnCalendar=minutely', 'AccuracySec=1s', 'Persistent=true', 'WantedBy=timers.target'])
      expect(timer.split('\n')).toContain(line)
  })

  test('come in pairs, each service with its timer', () => {
    const names = unitsOf(places).map(({ name }) => name)
    expect(timers.length).toBe(3)
    for (const timer of timers)
      expect([timer, names.includes(timer), names.includes(timer.replace('.timer', '.service'))]).toEqual([
        timer,
        true,
        true,
      ])
    expect(names.length).toBe(6)
  })

  test('end by themselves', () => {
    for (const unit of unitsOf(places).filter(({ name }) => name.endsWith('.service')))
      expect([unit.name, /^TimeoutStartSec=[0-9]+$/m.test(formatUnit(unit))]).toEqual([unit.name, true])
  })
})

test('the exposure is what systemd says', () => {
  const said = '\n→ Overall exposure level for ztmysql-anchor.service: 0.2 SAFE :-}\n'
  expect(parseExposure(said)).toEqual({ score: 0.2, verdict: 'SAFE' })
  expect(parseExposure('Unit ztmysql-anchor.service not found.')).toBeNull()
})

describe('a log host', () => {
  test('is a name and a port', () => {
    expect(parseLogHost('log1.example.org:6514')).toEqual({ name: 'log1.example.org', port: 6514 })
    expect(formatLogHost(parseLogHost('log:1'))).toBe('log:1')
  })

  test.each([
    'log1',
    'log1:',
    ':6514',
    'log1:0',
    'log1:65536',
    'log1:06514',
    'Log1:6514',
    'a b:1',
    'log"1:6514',
    '-a:1',
    'a..b:1',
  ])('is not %s', bad => {
    expect(() => parseLogHost(bad)).toThrow(ZtError)
  })

  test('is sent each line until it has acknowledged, under its own name and TLS 1.3 alone', () => {
    const config = formatShipping(parseLogHost('log1.example.org:6514'))
    for (const part of [
      'type="omrelp" target="log1.example.org" port="6514"',
      'tls.permittedPeer=["log1.example.org"]',
      'tls.authMode="name"',
      'MinProtocol=TLSv1.3',
      'queue.type="Disk"',
      'queue.syncQueueFiles="on"',
      'queue.timeoutEnqueue="0"',
      'action.resumeRetryCount="-1"',
      'file="/var/log/ztmysql/anchors-*.log"',
    ])
      expect(config).toContain(part)
  })

  test('takes lines of the database host alone and keeps when they came', () => {
    const config = formatReceiver({ port: 6514, client: 'db1.example.org' })
    expect(config).toContain('tls.permittedPeer=["db1.example.org"]')
    expect(config).toContain('string="%timegenerated:::date-rfc3339% %fromhost-ip% %rawmsg%\\n"')
  })
})
