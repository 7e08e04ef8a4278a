/** Each provider as the contract sees it: keys, versions, and faults; or why it cannot have one. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type KmsOptions, type OpenedKms, openKms } from '../../lib/edge/kms.ts'
import { destroyFileKeyVersion, makeFileKey, rotateFileKey } from '../../lib/edge/kms_file.ts'
import { keyA, keyB, startTestKms } from './kms.ts'
import type { ModuleFault } from './pkcs11_bent.ts'
import { noSofthsm, startTestToken } from './softhsm.ts'

export type FaultName =
  /** No answer for an hour. */
  | 'hangs'
  /** Not there, as it says or as its end says. */
  | 'away'
  /** The caller may not use the key. */
  | 'refuses'
  /** An answer whose bytes are not what they were. */
  | 'corrupts'
  /** Another key did the work. */
  | 'another key'

export interface World {
  readonly uri: string
  /** Another key of the provider. */
  readonly other: string
  open(key: string, options?: KmsOptions): Promise<OpenedKms>
  /** A new version, which seals from now on. */
  rotate(): Promise<void>
  /** Ends the first version. */
  destroyFirst(): Promise<void>
  /** For the next calls; all where `times` is undefined. */
  fault: Partial<Record<FaultName, (times?: number) => void | Promise<void>>>
  wellAgain(): void | Promise<void>
  /** What must stand in no error. */
  readonly secrets: readonly string[]
  stop(): Promise<void>
}

export interface Provider {
  readonly name: string
  /** Why it cannot be tried on this machine. */
  readonly absent?: string | undefined
  /** Faults that it cannot have, with the reason. Every other one is tried. */
  readonly cannot: Partial<Record<FaultName, string>>
  /** The code of a refusal. */
  readonly refusal: string
  start(): Promise<World>
}

const google: Provider = {
  name: 'gcp-kms (by the emulator)',
  cannot: {},
  refusal: 'DENIED',
  start: async () => {
    const lab = await startTestKms()
    for (const key of [keyA, keyB]) await lab.emulator.createKey(key)
    const rights: Record<string, ('encrypt' | 'decrypt')[]> = {
      [keyA]: ['encrypt', 'decrypt'],
      [keyB]: ['encrypt', 'decrypt'],
    }
    const token = await lab.identity('app', rights)
    const times = (n?: number) => (n === undefined ? '' : `*${n}`)
    return {
      uri: `gcp-kms-emulator://${keyA}`,
      other: `gcp-kms-emulator://${keyB}`,
      open: (key, options) => lab.open(key, token, options),
      rotate: async () => void (await lab.emulator.rotateKey(keyA)),
      destroyFirst: () => lab.emulator.destroyKeyVersion(keyA, 1),
      fault: {
        hangs: n => lab.emulator.setFault(`latency=3600000${times(n)}`),
        away: n => lab.emulator.setFault(`fail=UNAVAILABLE${times(n)}`),
        corrupts: n => lab.emulator.setFault(`corrupt-answer${times(n)}`),
        'another key': n => lab.emulator.setFault(`wrong-key-name${times(n)}@Encrypt`),
        refuses: () => lab.emulator.grant('app', [{ resource: keyA, rights: [] }]),
      },
      wellAgain: async () => {
        lab.emulator.setFault()
        await lab.emulator.grant('app', [{ resource: keyA, rights: ['encrypt', 'decrypt'] }])
      },
      secrets: [
        await Bun.file(token)
          .text()
          .then(text => text.trim()),
      ],
      stop: () => lab.stop(),
    }
  },
}

const pkcs11: Provider = {
  name: 'pkcs11 (on SoftHSM2)',
  absent: noSofthsm,
  cannot: {},
  refusal: 'DENIED',
  start: async () => {
    const token = startTestToken()
    token.generate('tenant-a', '01')
    token.generate('tenant-b', '01')
    const faults = join(token.dir, 'faults.json')
    const misbehave =
      (kind: ModuleFault) =>
      (times = 1_000_000) =>
        writeFileSync(faults, JSON.stringify({ kind, times }))
    const closers: OpenedKms[] = []
    const program = [process.execPath, join(import.meta.dir, 'pkcs11_bent.ts'), faults]
    return {
      uri: token.uri('tenant-a'),
      other: token.uri('tenant-b'),
      open: async (key, options) => {
        const kms = await openKms(key, {
          env: {},
          pkcs11Module: token.module,
          pinFile: token.pinFile,
          pkcs11Program: program,
          ...options,
        })
        closers.push(kms)
        return kms
      },
      rotate: async () => token.generate('tenant-a', '02'),
      destroyFirst: async () => token.destroy('tenant-a', '01'),
      fault: {
        hangs: misbehave('hangs'),
        away: misbehave('dies'),
        corrupts: misbehave('corrupts'),
        'another key': misbehave('another key'),
        refuses: () => writeFileSync(token.pinFile, 'wrong-pin-0000\n', { mode: 0o600 }),
      },
      wellAgain: () => {
        rmSync(faults, { force: true })
        writeFileSync(token.pinFile, `${token.pin}\n`, { mode: 0o600 })
      },
      secrets: [token.pin],
      stop: async () => {
        for (const kms of closers) await kms.close()
        token.stop()
      },
    }
  },
}

const file: Provider = {
  name: 'file (for trials)',
  cannot: {
    hangs: 'nothing is called: a file is read and a cipher runs, in this process',
    away: 'a file is there, or the key cannot be opened at all: there is nothing to try again',
    corrupts: 'there is no answer: what is sealed and opened never leaves this process',
    'another key': 'nobody answers: the key is what the file holds, and its path is bound as additional data',
  },
  refusal: 'PERMISSION',
  start: async () => {
    const dir = mkdtempSync(join(tmpdir(), 'zt-filekms-'))
    const [a, b] = [join(dir, 'a.json'), join(dir, 'b.json')] as const
    for (const path of [a, b]) makeFileKey(path)
    return {
      uri: `file://${a}`,
      other: `file://${b}`,
      open: (key, options) => openKms(key, { env: {}, warn: () => undefined, ...options }),
      rotate: async () => void rotateFileKey(a),
      destroyFirst: async () => destroyFileKeyVersion(a, 1),
      fault: { refuses: () => chmodSync(a, 0o644) },
      wellAgain: () => chmodSync(a, 0o600),
      secrets: [JSON.parse(await Bun.file(a).text()).versions[0]],
      stop: async () => rmSync(dir, { recursive: true, force: true }),
    }
  },
}

export const contracted: readonly Provider[] = [google, pkcs11, file]
