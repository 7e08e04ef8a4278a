import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ZtError } from '../../lib/core/errors.ts'
import { openSyslog } from '../../lib/edge/syslog.ts'
import { listenUnix } from '../support/unix_datagram.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-log-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const long = `<109>1 - - - - - - ${'ä'.repeat(4000)}`

test('a message reaches a unix datagram socket whole', async () => {
  const path = join(dir, 'log')
  using listener = listenUnix(path)
  const syslog = openSyslog(path)
  await syslog.send('<109>1 one')
  await syslog.send(long)
  expect(listener.receive()).toEqual(['<109>1 one', long])
})

test('a message reaches an UDP port whole', async () => {
  const received: string[] = []
  const server = await Bun.udpSocket({
    hostname: '127.0.0.1',
    port: 0,
    socket: { data: (_, data) => void received.push(data.toString('utf8')) },
  })
  try {
    await openSyslog(`udp://127.0.0.1:${server.port}`).send(long)
    for (let i = 0; i < 100 && received.length === 0; i++) await Bun.sleep(10)
    expect(received).toEqual([long])
  } finally {
    server.close()
  }
})

test('where nobody listens, one error says so', async () => {
  const gone = join(dir, 'gone')
  const error = await openSyslog(gone)
    .send('x')
    .catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(ZtError)
  expect((error as ZtError).message).toBe(`syslog ${gone}: nobody takes messages there`)
  {
    using _ = listenUnix(gone)
  }
  await expect(openSyslog(gone).send('x')).rejects.toThrow('nobody takes messages there')
})

test.each([
  '',
  'log',
  'udp://localhost:514',
  'udp://127.0.0.1',
  'udp://127.0.0.1:0',
  'udp://127.0.0.1:65536',
  'tcp://127.0.0.1:1',
  `/${'a'.repeat(108)}`,
])('the target %p is refused', target => {
  expect(() => openSyslog(target)).toThrow(ZtError)
})
