/** One KMS call made dependable: a deadline per attempt, bounded jittered repeats, one clear error at the end. */
import { type ErrorCode, reason, ZtError } from '../core/errors.ts'

export interface KmsLimits {
  /** Deadline of one attempt once a connection stands. */
  readonly attemptMs: number
  /** How long a connection, and the search for credentials, may take. */
  readonly connectMs: number
  /** All attempts and pauses together. */
  readonly totalMs: number
  readonly attempts: number
  /** Upper bound of the first, random pause; each further one may be twice as long, up to 2 s. */
  readonly pauseMs: number
}

export const defaultLimits: KmsLimits = {
  attemptMs: 10_000,
  connectMs: 4_000,
  totalMs: 30_000,
  attempts: 5,
  pauseMs: 100,
}

/** An answer that was damaged on its way: worth asking again, never worth using. */
export class DamagedAnswer extends Error {}

/** What a provider that does not speak gRPC ended with, in the words of gRPC, which decide whether it is tried again. */
export class KmsFailure extends Error {
  readonly code: number
  readonly hint: string | undefined

  constructor(status: StatusName, details: string, hint?: string) {
    super(details)
    this.code = statusNumber(status)
    this.hint = hint
  }
}

/** gRPC status codes (grpc.io/docs/guides/status-codes) by number. */
const statusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
] as const
export type StatusName = (typeof statusNames)[number]

export function statusName(thrown: unknown): StatusName {
  const code = (thrown as { code?: unknown } | null)?.code
  return (typeof code === 'number' ? statusNames[code] : undefined) ?? 'UNKNOWN'
}

/** Its number, for those who speak gRPC. */
export const statusNumber = (name: StatusName): number => statusNames.indexOf(name)

export const isStatusName = (text: string): text is StatusName =>
  (statusNames as readonly string[]).includes(text)

const transient: ReadonlySet<StatusName> = new Set([
  'UNAVAILABLE',
  'RESOURCE_EXHAUSTED',
  'DEADLINE_EXCEEDED',
  'ABORTED',
])

const meanings: Partial<Record<StatusName, [ErrorCode, hint: string]>> = {
  PERMISSION_DENIED: ['DENIED', 'grant this identity the right on this key, or use the identity that has it'],
  UNAUTHENTICATED: ['DENIED', 'check the credentials: they are missing, expired or unknown to the KMS'],
  UNAVAILABLE: ['UNREACHABLE', 'check the network, the proxy settings, and KMS_EMULATOR_HOST if it is set'],
  DEADLINE_EXCEEDED: ['UNREACHABLE', 'check the network and the load of the KMS, then run it again'],
  RESOURCE_EXHAUSTED: ['KMS', 'the quota is used up: wait a minute, or ask for a larger one'],
  NOT_FOUND: ['KMS', 'check the name of the key, its project and its location'],
  FAILED_PRECONDITION: ['KMS', 'enable or restore the key version: what it sealed stays sealed until then'],
  INVALID_ARGUMENT: ['KMS', 'the ciphertext does not belong to this key and context, or it was changed'],
}

// A server's words reach terminals and logs: one line, printable, short.
const clean = (text: string): string =>
  text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/\s*Resolution note:\s*$/, '')
    .trim()
    .slice(0, 300)

const detail = (thrown: unknown): string => {
  const details = (thrown as { details?: unknown } | null)?.details
  return clean(typeof details === 'string' && details !== '' ? details : reason(thrown))
}

/** gRPC reports a server's wrong certificate as UNAVAILABLE, but asking again will not make it right. */
const isCertificate = (thrown: unknown): boolean =>
  statusName(thrown) === 'UNAVAILABLE' && /\bERR_TLS_|\bCERT_|certificate/i.test(detail(thrown))

/** The ZtError for what a KMS call ended with: DENIED, UNREACHABLE, TLS or KMS. `action`: verb, key, endpoint. */
export function kmsError(thrown: unknown, action: string, tries = 1): ZtError {
  if (thrown instanceof ZtError) return thrown
  const after = tries > 1 ? ` (after ${tries} attempts)` : ''
  if (thrown instanceof DamagedAnswer)
    return new ZtError('KMS', `${action}: damaged answer: ${thrown.message}${after}`, {
      hint: 'nothing of it was used: check the network path to the KMS, then run it again',
      cause: thrown,
    })
  if (isCertificate(thrown))
    return new ZtError('TLS', `${action}: ${detail(thrown)}${after}`, {
      hint: 'something else answers in the place of the KMS: check the proxy, the clock and GRPC_DEFAULT_SSL_ROOTS_FILE_PATH',
      cause: thrown,
    })
  const status = statusName(thrown)
  const [code, hint] = meanings[status] ?? ['KMS', 'run it again; if it stays, see the status of the KMS']
  return new ZtError(code, `${action}: ${status}: ${detail(thrown)}${after}`, {
    hint: (thrown instanceof KmsFailure ? thrown.hint : undefined) ?? hint,
    cause: thrown,
  })
}

const sleep = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

/**
 * Runs `attempt` until it succeeds, fails for good, or the limits are reached. `connected` says whether a connection
 * stands: until one does, an attempt gets `connectMs` alone, so that a dead address is reported within seconds.
 * @throws as kmsError
 */
export async function callKms<T>(
  action: string,
  limits: KmsLimits,
  connected: () => boolean,
  attempt: (timeoutMs: number) => Promise<T>,
): Promise<T> {
  const start = performance.now()
  let damaged = 0
  for (let tries = 1; ; tries++) {
    const left = limits.totalMs - (performance.now() - start)
    const timeoutMs = Math.ceil(Math.min(left, connected() ? limits.attemptMs : limits.connectMs))
    try {
      return await attempt(timeoutMs)
    } catch (thrown) {
      if (thrown instanceof DamagedAnswer) damaged++
      const again =
        thrown instanceof DamagedAnswer
          ? damaged < 3
          : transient.has(statusName(thrown)) && !isCertificate(thrown)
      const pauseMs = Math.random() * Math.min(2_000, limits.pauseMs * 2 ** (tries - 1))
      const spent = performance.now() - start + pauseMs
      const budgetMs = connected() ? limits.totalMs : Math.min(limits.connectMs, limits.totalMs)
      if (!again || tries >= limits.attempts || spent >= budgetMs) throw kmsError(thrown, action, tries)
      await sleep(pauseMs)
    }
  }
}
