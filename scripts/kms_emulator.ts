#!/usr/bin/env bun
/**
 * A local KMS for development: Google's gRPC protocol on loopback, keys in a private file. No HSM, no Google.
 * `serve` runs it; the other commands change the state file, whether it runs or not.
 */
import { command, onExit, print, runMain, say } from '../lib/cli.ts'
import { ZtError } from '../lib/core/errors.ts'
import { removeFile, writeFileAtomic } from '../lib/edge/files.ts'
import type { Right } from '../lib/edge/kms_emulator/state.ts'

function wholeNumber(text: string, max = 2 ** 31): number {
  if (/^(?:0|[1-9]\d{0,9})$/.test(text) && Number(text) <= max) return Number(text)
  throw new ZtError('USAGE', `not a whole number: ${text}`, { hint: `give one from 0 to ${max}` })
}

async function parseRights(text: string): Promise<Right[]> {
  const { rights } = await import('../lib/edge/kms_emulator/state.ts')
  return text === 'none'
    ? []
    : text.split(',').map(part => {
        const right = rights.find(known => known === part)
        if (right) return right
        throw new ZtError('USAGE', `not a right: ${part}`, { hint: `${rights.join(', ')}, or none` })
      })
}

const open = async (stateFile: string) => {
  const [operator, { StateStore }] = await Promise.all([
    import('../lib/edge/kms_emulator/operator.ts'),
    import('../lib/edge/kms_emulator/store.ts'),
  ])
  return { operator, store: new StateStore(stateFile) }
}

interface ServeOptions {
  state: string
  port: string
  readyFile?: string
  fault: string[]
}

async function serve(options: ServeOptions): Promise<void> {
  const { startKmsEmulator } = await import('../lib/edge/kms_emulator.ts')
  const emulator = await startKmsEmulator({
    stateFile: options.state,
    port: wholeNumber(options.port, 65_535),
    faults: options.fault,
  })
  onExit(() => emulator.stop())
  const ready = JSON.stringify({ endpoint: emulator.endpoint, pid: process.pid, state: options.state })
  const { readyFile } = options
  if (readyFile !== undefined) {
    writeFileAtomic(readyFile, `${ready}\n`)
    onExit(() => removeFile(readyFile))
  }
  print(ready)
  say(`kms_emulator: serving on ${emulator.endpoint}: not Google, no HSM, for development alone`)
  await new Promise(() => undefined) // until a signal ends it
}

const main = command('kms_emulator', 'run a local KMS that speaks the protocol of Google Cloud KMS', [
  'kms_emulator serve --state kms.json --port 9010',
  'kms_emulator create-key --state kms.json --key projects/demo/locations/local/keyRings/ring/cryptoKeys/tenant-a',
  'kms_emulator grant --state kms.json --identity app --key projects/demo/… --rights encrypt,decrypt --token-file app.token',
  'kms_emulator fault --state kms.json fail=UNAVAILABLE*2@Encrypt latency=250',
])

const withState = (name: string, summary: string) =>
  main.command(name).description(summary).requiredOption('--state <file>', 'the state file (0600)')

withState('serve', 'serve on 127.0.0.1 until interrupted; prints one JSON line when ready')
  .option('--port <n>', 'port; 0 for any free one', '0')
  .option('--ready-file <file>', 'write that line here too, and remove it at the end')
  .option('--fault <fault...>', 'misbehave from the start (see fault)', [])
  .action(serve)

withState('create-key', 'make a key, and its ring if need be; nothing changes where it is there')
  .requiredOption('--key <name>', 'projects/P/locations/L/keyRings/R/cryptoKeys/K')
  .option('--hsm', 'echo HSM as the protection asked for; it is software all the same')
  .option('--destroy-seconds <n>', 'how long a destroyed version can be restored', '2592000')
  .action(async (options: { state: string; key: string; hsm?: boolean; destroySeconds: string }) => {
    const { operator, store } = await open(options.state)
    const made = await operator.createKey(store, options.key, {
      askedProtection: options.hsm ? 'HSM' : 'SOFTWARE',
      destroySeconds: wholeNumber(options.destroySeconds),
    })
    print(`${made ? 'created' : 'exists'} gcp-kms-emulator://${operator.keyNameOf(options.key)}`)
  })

withState('rotate', 'make a new primary version; older ones still open what they sealed')
  .requiredOption('--key <name>', 'the key')
  .action(async (options: { state: string; key: string }) => {
    const { operator, store } = await open(options.state)
    print(`primary version ${await operator.rotateKey(store, options.key)}`)
  })

withState('grant', 'set the rights of an identity on a key, or on all below a ring, location or project')
  .requiredOption('--identity <name>', 'who; made if new')
  .requiredOption('--key <resource>', 'projects/P[/locations/L[/keyRings/R[/cryptoKeys/K]]]')
  .requiredOption('--rights <list>', 'encrypt,decrypt,admin, or none')
  .requiredOption('--token-file <file>', 'the bearer token: written here (0600), or taken from here')
  .action(async (o: { state: string; identity: string; key: string; rights: string; tokenFile: string }) => {
    const { operator, store } = await open(o.state)
    const wanted = await parseRights(o.rights)
    await operator.addIdentity(store, o.identity, [{ resource: o.key, rights: wanted }], o.tokenFile)
    print(`${o.identity}: ${wanted.join(', ') || 'nothing'} on ${o.key}`)
  })

withState('fault', 'make the running emulator misbehave; without a fault: behave again')
  .argument('[faults...]', 'latency=MS, fail=STATUS, wrong-checksum, …; then *TIMES and @Method')
  .action(async (texts: string[], { state }: { state: string }) => {
    const { faultFile, formatFault, parseFault } = await import('../lib/edge/kms_emulator/faults.ts')
    if (texts.length === 0) removeFile(faultFile(state))
    else writeFileAtomic(faultFile(state), texts.map(text => `${formatFault(parseFault(text))}\n`).join(''))
  })

if (import.meta.main) await runMain(main)
