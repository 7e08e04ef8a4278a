/** Files, processes and databases of an installed host: sound as vm_oneclick left them, and red where one is bent. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { database, installation, whenActive } from '../support/host_installation.ts'
import { judgeHost, pushLayers } from '../support/host_layers.ts'
import { bootHost, type TestHost } from '../support/hosts.ts'

setDefaultTimeout(600_000)

let host: TestHost
beforeAll(async () => {
  const { base } = await installation()
  host = await bootHost({ ...database, base })
  await whenActive(host, 'mysql')
  await pushLayers(host)
})
afterAll(() => host.stop())

const ids = ['host.files', 'host.process', 'host.databases']

async function judged(): Promise<Record<string, string>> {
  const seen: [string, string][] = []
  for (const id of ids) {
    const { status, reason } = await judgeHost(host, id)
    seen.push([id, status === 'pass' ? status : `${status}: ${reason}`])
  }
  return Object.fromEntries(seen)
}
const sound = Object.fromEntries(ids.map(id => [id, 'pass']))

test('are as every baseline asks after the installer and a reboot', async () => {
  expect(await judged()).toEqual(sound)
})

const sabotages: [id: string, act: string, undo: string, says: RegExp][] = [
  ['host.files', 'chmod o+r /var/lib/mysql/ibdata1', 'chmod o-r /var/lib/mysql/ibdata1', /ibdata1: 0644/],
  [
    'host.files',
    'chmod g+r /etc/ztmysql/tls/server-key.pem',
    'chmod g-r /etc/ztmysql/tls/server-key.pem',
    /server-key.pem: 0640/,
  ],
  ['host.files', 'chmod o+r /etc/mysql/my.cnf', 'chmod o-r /etc/mysql/my.cnf', /my.cnf: 0644/],
  [
    'host.files',
    'printf "[mysqld]\\nallow-suspicious-udfs\\n" > /etc/mysql/conf.d/x.cnf; chmod 640 /etc/mysql/conf.d/x.cnf; chgrp mysql /etc/mysql/conf.d/x.cnf',
    'rm /etc/mysql/conf.d/x.cnf',
    /x.cnf: allow-suspicious-udfs/,
  ],
  [
    'host.process',
    'sed -i "/^mysql:/s,:[^:]*$,:/bin/bash," /etc/passwd',
    'sed -i "/^mysql:/s,:[^:]*$,:/bin/false," /etc/passwd',
    /mysql has the shell \/bin\/bash/,
  ],
  [
    'host.process',
    'echo MYSQL_PWD=x >> /etc/environment',
    'sed -i /MYSQL_PWD/d /etc/environment',
    /\/etc\/environment/,
  ],
  [
    'host.process',
    'echo GRANT > /root/.mysql_history',
    'rm /root/.mysql_history',
    /\.mysql_history: 6 bytes/,
  ],
  ['host.databases', 'mysql -e "CREATE DATABASE test"', 'mysql -e "DROP DATABASE test"', /^fail: test$/],
]

for (const [id, act, undo, says] of sabotages)
  test(`${id}: ${act}`, async () => {
    await host.mustSh(act)
    try {
      expect(await judged()).toEqual({ ...sound, [id]: expect.stringMatching(says) })
    } finally {
      await host.mustSh(undo)
    }
    expect(await judged()).toEqual(sound)
  })
