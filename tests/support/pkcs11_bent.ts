/**
 * The process with the module, misbehaving on request: `pkcs11_bent FAULTS`, a file of `{"kind":…,"times":N}`, read at
 * each call and counted down there, so that it outlives a process that was killed.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { serve } from '../../lib/edge/kms_pkcs11/child.ts'
import { type Cryptoki, CryptokiError, loadCryptoki } from '../../lib/edge/kms_pkcs11/cryptoki.ts'

export type ModuleFault = 'hangs' | 'dies' | 'gone' | 'corrupts' | 'another key'
interface Wanted {
  kind: ModuleFault
  times: number
}

const [, , faults = ''] = process.argv

function take(kinds: readonly ModuleFault[]): ModuleFault | undefined {
  if (!existsSync(faults)) return undefined
  const wanted = JSON.parse(readFileSync(faults, 'utf8')) as Wanted
  if (wanted.times === 0 || !kinds.includes(wanted.kind)) return undefined
  writeFileSync(faults, JSON.stringify({ ...wanted, times: wanted.times - 1 }))
  return wanted.kind
}

function bent(whole: Cryptoki): Cryptoki {
  /** What the call answers, or how it does not. */
  const trouble = (call: string, act: () => Uint8Array): Uint8Array => {
    const kind = take(['hangs', 'dies', 'gone', 'corrupts'])
    if (kind === 'hangs') Bun.sleepSync(3_600_000) // blocks as a call into the module does
    if (kind === 'dies') process.kill(process.pid, 'SIGKILL')
    if (kind === 'gone') throw new CryptokiError(call, 0x32)
    const answer = act()
    if (kind === 'corrupts') answer[0] = (answer[0] ?? 0) ^ 1
    return answer
  }
  return {
    ...whole,
    encrypt: (...args) => {
      let nonce = args[2]
      const sealed = trouble('C_Encrypt', () => {
        const [used, bytes] = whole.encrypt(...args)
        nonce = used
        return bytes
      })
      return [nonce, sealed]
    },
    decrypt: (...args) => trouble('C_Decrypt', () => whole.decrypt(...args)),
    key: (session, handle) => {
      const key = whole.key(session, handle)
      return take(['another key']) === undefined ? key : { ...key, label: 'another' }
    },
  }
}

if (import.meta.main) serve(path => bent(loadCryptoki(path)))
