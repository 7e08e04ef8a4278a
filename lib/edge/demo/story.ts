/** The whole journey on real parts: PKI, install, encrypt, audit, proof, offline verdict, and two attacks by root. */
import { onExit } from '../cleanup.ts'
import { type Mysqld, startMysqld } from '../mysqld.ts'
import {
  attackCopy,
  collectProof,
  install,
  makePki,
  refusals,
  startKms,
  verifyOffline,
  writePeople,
} from './chapters.ts'
import { type Instance, mysqlDir, writeInstance } from './instance.ts'
import { type DemoOptions, Scene } from './scene.ts'
import type { Narrator } from './stage.ts'

export interface Told {
  instance: Instance
  /** Verdict of the bundle, with the control matrix. */
  matrix: string
}

/** @throws VERIFY_FAILED and what a step that was not as it should be says; nothing is left running then */
export async function tellStory(narrator: Narrator, options: DemoOptions): Promise<Told> {
  const { dir, keep } = options
  const server: Mysqld = await narrator.chapter('a private MySQL', async () => {
    const mysqld = await startMysqld(keep ? { detached: true, dir: mysqlDir(dir) } : {})
    narrator.shows(`MySQL ${mysqld.version} on 127.0.0.1:${mysqld.port}`)
    return mysqld
  })
  let released = false
  if (keep) onExit(() => (released ? undefined : server.stop()))
  const scene = await Scene.set(narrator, options, server)
  await narrator.chapter('a local KMS: one key a tenant, one identity a key', () => startKms(scene))
  await narrator.chapter('PKI: CA, server, two tenants, their applications, auditor, probes', () =>
    makePki(scene),
  )
  await narrator.chapter('install: settings, TLS, schema, accounts, signed orders', () => install(scene))
  if (keep) scene.processes.start('anchor', ...scene.anchorHead('loop', '--every', '60'))
  await narrator.chapter('write and read people: sealed in the client, signed, through one procedure', () =>
    writePeople(scene),
  )
  await narrator.chapter('what must be refused', () => refusals(scene))
  const bundle = await narrator.chapter('collect a proof bundle between two anchors', () =>
    collectProof(scene),
  )
  const matrix = await narrator.chapter('verify it offline, with one binary in an empty folder', () =>
    verifyOffline(scene, bundle),
  )
  await narrator.chapter('root edits a row of a copy, then another one with a forged event', () =>
    attackCopy(scene),
  )

  const instance = describe(scene, bundle)
  if (keep) {
    writeInstance(dir, instance)
    scene.processes.release()
    released = true
  } else {
    await scene.processes.end()
    await server.stop()
  }
  return { instance, matrix }
}

function describe(scene: Scene, bundle: string): Instance {
  const { server, tenants, processes } = scene
  const [first] = tenants
  return {
    v: 1,
    mysql: { host: '127.0.0.1', port: server.port, socket: server.socket },
    clientsDir: scene.at('pki', 'clients'),
    kms: { endpoint: scene.kms, keyName: first.kmsKey },
    wormDir: scene.at('worm'),
    trustDir: scene.at('pki', 'trust'),
    receipts: first.receipts,
    bundle,
    tenants: tenants.map(({ label, account, kmsKey, tokenFile, receipts, people }) => ({
      id: scene.tenantId(label),
      label,
      account,
      kmsKey,
      kmsTokenFile: tokenFile,
      receipts,
      people,
    })),
    pids: {
      ...Object.fromEntries(processes.started.map(({ name, pid }) => [name, pid])),
      ...(server.pid === undefined ? {} : { mysqld: server.pid }),
    },
    processes: processes.started,
  }
}
