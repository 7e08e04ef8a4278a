/** The CA: made once, changed with an overlap in which both are trusted. */
import { sha256 } from '@noble/hashes/sha2.js'
import { toHex } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { currentCertificate } from '../../core/pki_state.ts'
import { daySeconds, makeAuthority } from './certificates.ts'
import { type Draft, pemOf, put, remove } from './draft.ts'
import { encryptKey, makeKey } from './keys.ts'

const years = 10

export const authorityKeyPath = (serial: string): string => `ca/${serial}-key.pem`
export const authorityPath = (serial: string): string => `ca/${serial}-cert.pem`

/** A new CA, which signs from now on; the one before it, if any, stays trusted beside it. */
export async function addAuthority(draft: Draft): Promise<void> {
  const { state } = draft
  const pair = await makeKey('P-384')
  const ca = await makeAuthority(pair, { now: draft.now, seconds: years * 365 * daySeconds })
  const { serial, notAfter, der } = ca.certificate
  put(draft, authorityKeyPath(serial), encryptKey(pair.pkcs8, draft.passphrase))
  put(draft, authorityPath(serial), pemOf(ca.certificate))
  state.authorities.unshift({ serial, sha256: toHex(sha256(der)), notAfter })
  draft.authorities.unshift(ca)
  draft.crlIsStale = true
  draft.changes.push(`CA ${serial}, until ${notAfter.slice(0, 10)}, SHA-256 ${toHex(sha256(der))}`)
}

/** Begins a rollover: every ca.pem holds both, and both sign CRLs and the trust folder. */
export async function beginRollover(draft: Draft): Promise<void> {
  if (draft.state.authorities.length > 1)
    throw new ZtError('CONFLICT', 'a rollover is under way', {
      hint: 'renew what the old CA issued (outside_pki renew --all), then outside_pki rollover --finish',
    })
  await addAuthority(draft)
}

/** Ends a rollover: the old CA's key is destroyed. Refused while anything in use stands on it. */
export function finishRollover(draft: Draft): void {
  const { state } = draft
  const [, old] = state.authorities
  if (old === undefined) return
  const server = state.servers.at(-1)
  const waiting = [
    ...(server?.authority === old.serial ? ['server'] : []),
    ...state.accounts
      .filter(account => !account.retired && currentCertificate(state, account).authority === old.serial)
      .map(account => account.account),
  ]
  if (waiting.length > 0)
    throw new ZtError('REFUSED', `the old CA is still in use, by: ${waiting.join(', ')}`, {
      hint: 'outside_pki renew --all, hand the certificates over, then finish',
    })
  state.authorities.pop()
  draft.authorities.pop()
  remove(draft, authorityKeyPath(old.serial))
  draft.crlIsStale = true
  draft.changes.push(`CA ${old.serial}: no longer trusted, its key destroyed`)
}
