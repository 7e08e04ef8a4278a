/** An application of the tenant acme on a machine of its own on the LAN, with a local KMS beside it. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { safePath } from '../../lib/edge/child.ts'
import { onExit } from '../../lib/edge/cleanup.ts'
import { binary } from './binary.ts'
import { must, succeeded } from './host_command.ts'
import type { Workstation } from './host_installation.ts'
import { outsider, type Place } from './hosts.ts'

const emulator = resolve(import.meta.dir, '../../scripts/kms_emulator.ts')
const endpoint = '127.0.0.1:9010'
const kmsKey = 'projects/test/locations/local/keyRings/zt/cryptoKeys/acme'

export interface Application {
  place: Place
  /** Writes a person through the envelope; what the command printed. */
  createPerson(person: Record<string, string>): Promise<string>
}

async function serveKms(place: Place, state: string): Promise<void> {
  const command = [process.execPath, emulator, 'serve', '--state', state, '--port', '9010']
  const child = Bun.spawn(
    ['ip', 'netns', 'exec', place.namespace, 'setpriv', '--pdeathsig', 'KILL', ...command],
    { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', env: { PATH: safePath() } },
  )
  onExit(async () => {
    child.kill()
    await child.exited
  })
  const { value } = await child.stdout.getReader().read() // it prints once it serves
  if (value === undefined) throw new Error(`the KMS ended: ${await new Response(child.stderr).text()}`)
}

/** Makes the tenant's keys, hybrid ones, and an application that can write and read. */
export async function openApplication(workstation: Workstation, ip: string): Promise<Application> {
  const { dir, pki, passphraseFile } = workstation
  const folder = join(dir, 'application')
  mkdirSync(folder, { mode: 0o700 })
  const at = (name: string): string => join(folder, name)
  const place = await outsider('app', ip)
  const envelope = await binary('pq_envelope_cli')
  const kms = (...args: string[]) => must([process.execPath, emulator, ...args, '--state', at('kms.json')])
  await kms('create-key', '--key', kmsKey)
  const rights = ['--rights', 'encrypt,decrypt', '--token-file', at('token')]
  await kms('grant', '--identity', 'acme_app', '--key', kmsKey, ...rights)
  await serveKms(place, at('kms.json'))
  const guarded = ['--passphrase-file', passphraseFile]
  const kem = at('acme-kem.json')
  await must([
    envelope,
    'keygen',
    '--tenant',
    'acme',
    '--trust',
    join(pki, 'trust'),
    '--out',
    kem,
    ...guarded,
  ])
  const pub = at('acme-kem.pub')
  await must([await binary('outside_pki'), 'tenant', 'kem', 'acme', pub, '--dir', pki, ...guarded])
  const env = {
    CLIENTS_DIR: join(pki, 'clients'),
    TRUST_DIR: join(pki, 'trust'),
    RECEIPTS_DIR: at('receipts'),
    KMS_EMULATOR_HOST: endpoint,
    KMS_EMULATOR_TOKEN_FILE: at('token'),
  }
  const run = async (...args: string[]): Promise<string> =>
    succeeded(`pq_envelope_cli ${args[0]}`, await place.execWith({ env }, envelope, ...args))
  const issuer = ['--issuer', join(pki, 'issuers/acme-issuer.json'), ...guarded]
  await run('tenant-key', '--pq', '--kem', kem, '--account', 'acme_app', ...issuer)
  return {
    place,
    createPerson: async person => {
      const file = at(`${crypto.randomUUID()}.json`)
      writeFileSync(file, JSON.stringify(person), { mode: 0o600 })
      return run('create', '--kem', kem, '--account', 'acme_app', '--input', file)
    },
  }
}
