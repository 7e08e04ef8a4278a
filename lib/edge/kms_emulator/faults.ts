/** Misbehaviour on request, so that the client's checks can be seen to work. */
import { statSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import { readRegularFile } from '../files.ts'
import { isStatusName, type StatusName } from '../kms_call.ts'

const damages = [
  /** The request's bytes arrive changed. */
  'corrupt-request',
  /** The answer's bytes are changed after its checksum was made. */
  'corrupt-answer',
  /** The answer's last bytes are missing. */
  'truncate-answer',
  'wrong-checksum',
  'no-checksum',
  /** The request's checksum of the plaintext is not looked at, and the answer says so. */
  'unverified-plaintext',
  /** The same for the additional data. */
  'unverified-aad',
  /** The answer names another key. */
  'wrong-key-name',
] as const
export type Damage = (typeof damages)[number]

export type Fault = {
  /** Encrypt, Decrypt, …; every method where it is undefined. */
  readonly method: string | undefined
  /** How many calls it hits; all where it is undefined. */
  readonly times: number | undefined
} & (
  | { readonly kind: 'latency'; readonly ms: number }
  | { readonly kind: 'fail'; readonly status: StatusName }
  | { readonly kind: Damage }
)

/** `latency=MS`, `fail=STATUS` or a damage; then `*TIMES`, then `@Method`, both optional. Inverse of parseFault. */
export function formatFault(fault: Fault): string {
  const value = fault.kind === 'latency' ? `=${fault.ms}` : fault.kind === 'fail' ? `=${fault.status}` : ''
  const times = fault.times === undefined ? '' : `*${fault.times}`
  return `${fault.kind}${value}${times}${fault.method === undefined ? '' : `@${fault.method}`}`
}

/** @throws BAD_INPUT */
export function parseFault(text: string): Fault {
  const [, kind, value, times, method] =
    /^([a-z-]+)(?:=([A-Z_]+|0|[1-9]\d{0,6}))?(?:\*([1-9]\d{0,6}))?(?:@([A-Za-z]+))?$/.exec(text) ?? []
  const common = { method, times: times === undefined ? undefined : Number(times) }
  const damage = damages.find(known => known === kind)
  if (damage !== undefined && value === undefined) return { kind: damage, ...common }
  if (kind === 'latency' && value !== undefined && /^\d+$/.test(value))
    return { kind, ms: Number(value), ...common }
  if (kind === 'fail' && value !== undefined && isStatusName(value) && value !== 'OK')
    return { kind, status: value, ...common }
  throw new ZtError('BAD_INPUT', 'kms emulator: not a fault', {
    hint: `latency=MS, fail=STATUS, ${damages.join(', ')}; then *TIMES and @Method, for example fail=UNAVAILABLE*2@Encrypt`,
  })
}

/** Where the faults of a running emulator are asked for from outside, one a line. */
export const faultFile = (stateFile: string): string => `${stateFile}.faults`

/** What happens to one call. */
export interface Effects {
  latencyMs: number
  status: StatusName | undefined
  damage: ReadonlySet<Damage>
}

/** The faults of a running emulator: those set in the process, and those in the control file, one a line. */
export class Faults {
  #set: [fault: Fault, used: { times: number }][] = []
  #fromFile: [fault: Fault, used: { times: number }][] = []
  #seen = 'none'
  readonly controlFile: string

  constructor(controlFile: string) {
    this.controlFile = controlFile
  }

  /** Replaces those set in the process. @throws BAD_INPUT */
  set(texts: readonly string[]): void {
    this.#set = texts.map(text => [parseFault(text), { times: 0 }])
  }

  /** Takes the faults that hit this call, and counts it. */
  take(method: string): Effects {
    this.#reload()
    const damage = new Set<Damage>()
    const effects: Effects = { latencyMs: 0, status: undefined, damage }
    for (const [fault, used] of [...this.#set, ...this.#fromFile]) {
      if (fault.method !== undefined && fault.method !== method) continue
      if (fault.times !== undefined && used.times >= fault.times) continue
      used.times++
      if (fault.kind === 'latency') effects.latencyMs += fault.ms
      else if (fault.kind === 'fail') effects.status ??= fault.status
      else damage.add(fault.kind)
    }
    return effects
  }

  #reload(): void {
    const stats = statSync(this.controlFile, { throwIfNoEntry: false, bigint: true })
    const seen = stats === undefined ? 'none' : `${stats.ino}:${stats.mtimeNs}:${stats.size}`
    if (seen === this.#seen) return
    const text =
      stats === undefined
        ? ''
        : readRegularFile(this.controlFile, 'fault control file', 65_536).toString('utf8')
    const lines = text.split('\n').filter(line => line !== '')
    this.#fromFile = lines.map(line => [parseFault(line), { times: 0 }])
    this.#seen = seen
  }
}
