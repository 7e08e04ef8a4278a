/** A host that vm_oneclick installed from one binary and one archive, made once a test run, and whose clients they are. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Ended } from '../../lib/edge/child.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { issueAccount } from '../../lib/edge/pki/accounts.ts'
import { addTenant } from '../../lib/edge/pki/tenants.ts'
import { changePki, createPki, renewProbes } from '../../lib/edge/pki.ts'
import { binary } from './binary.ts'
import type { Layers } from './host_base_installed.ts'
import { bootHost, type TestHost } from './hosts.ts'

export const database = { name: 'h1', ip: '10.77.0.51' } as const

const dayMs = 86_400_000
export const passphrase = 'a passphrase for test hosts'
const kmsOf = (tenant: string) =>
  `gcp-kms-emulator://projects/test/locations/local/keyRings/zt/cryptoKeys/${tenant}`

/** The workstation's side. */
export interface Workstation {
  /** A short folder: sockets and option files name it. */
  dir: string
  pki: string
  passphraseFile: string
}

/**
 * A PKI of the standard story with a second tenant; `late_app`'s certificate has expired, `gone_app` is there to be
 * revoked.
 */
export async function workstation(): Promise<Workstation> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-ws-'))
  onExit(() => rmSync(dir, { recursive: true, force: true }))
  const pki = join(dir, 'pki')
  const passphraseFile = join(dir, 'passphrase')
  writeFileSync(passphraseFile, `${passphrase}\n`, { mode: 0o600 })
  const day = (days: number) => ({ passphrase, now: Date.now() + days * dayMs })
  await createPki(pki, {
    ...day(-3),
    serverNames: [database.ip],
    tenants: [{ label: 'acme', account: 'acme_app', kmsKeys: [kmsOf('acme')] }],
  })
  await changePki(pki, day(-2), draft =>
    issueAccount(draft, 'late_app', { role: 'app', tenant: 'acme' }, { days: 1 }),
  )
  await changePki(pki, day(0), async draft => {
    await addTenant(draft, 'globex', { kmsKeys: [kmsOf('globex')] })
    await issueAccount(draft, 'globex_app', { role: 'app', tenant: 'globex' })
    await issueAccount(draft, 'gone_app', { role: 'app', tenant: 'acme' })
    await renewProbes(draft)
  })
  return { dir, pki, passphraseFile }
}

export interface Installation extends Workstation {
  /** What the first run said, and its wall-clock time. */
  first: Ended & { seconds: number }
  /** The stopped host's disk: the binary is in /root, where a person copied it. */
  base: Layers
}

export const remote = ['--allow-remote', '--allowed-cidr', '10.77.0.0/24']
export const oneclick = '/root/vm_oneclick'
export const archive = '/root/pki_server.tar.gz'

/** All that is copied to a host before the installer runs. */
export async function bring(host: TestHost, { pki }: Workstation): Promise<void> {
  await host.push([await binary('vm_oneclick'), join(pki, 'pki_server.tar.gz')], '/root')
}

async function install(): Promise<Installation> {
  const place = await workstation()
  const host = await bootHost({ ...database, base: 'stock' })
  await bring(host, place)
  const began = performance.now()
  const ended = await host.exec(oneclick, '--yes', '--pki-tar', archive, ...remote)
  const first = { ...ended, seconds: (performance.now() - began) / 1000 }
  await host.stop()
  return { ...place, first, base: await host.snapshot() }
}

let made: Promise<Installation> | undefined

export function installation(): Promise<Installation> {
  made ??= install()
  return made
}

/** Waits, inside, until a unit that the boot starts is active. */
export const whenActive = (host: TestHost, unit: string): Promise<string> =>
  host.mustSh(`until systemctl is-active -q ${unit}; do sleep 0.1; done`)
