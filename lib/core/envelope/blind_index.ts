/** Equality search over sealed values: a truncated HMAC of what they normalise to (SPEC §3.6). */
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, checkLength } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { lp } from '../lp.ts'
import { blindLength } from '../tables.ts'
import { keyLength } from './aead.ts'

export type Normalisation = 'email' | 'phone' | 'name'

const trim = (text: string): string => text.replace(/^\p{White_Space}+|\p{White_Space}+$/gu, '')

/** Lower-casing can leave NFC (J̌ becomes a j with a mark of its own), so it is normalised once more. */
const lower = (text: string): string => text.toLowerCase().normalize('NFC')

const normalisers: Record<Normalisation, (text: string) => string | undefined> = {
  email: text => {
    const email = lower(trim(text.normalize('NFC')))
    return /^[^@]+@[^@]+$/.test(email) ? email : undefined
  },
  phone: text => {
    // A trunk prefix in brackets is not dialled from abroad: two spellings of one number would have two indexes.
    if (/\( *0 *\)/.test(text)) return undefined
    const phone = text.replace(/[ ().-]/g, '')
    return /^\+[0-9]{7,15}$/.test(phone) ? phone : undefined
  },
  name: text => {
    const name = lower(trim(text.normalize('NFC').replace(/\p{White_Space}+/gu, ' ')))
    return name === '' ? undefined : name
  },
}

const hints: Record<Normalisation, string> = {
  email: 'an address has one @, for example ada@example.org',
  phone: 'write it in international form: a + and 7 to 15 digits, without (0), for example +44 20 7946 0958',
  name: 'a name has at least one character that is not white space',
}

/** @throws BAD_INPUT naming the column, never the value */
export function normalise(how: Normalisation, text: string, column: string): string {
  const normal = text.isWellFormed() ? normalisers[how](text) : undefined
  if (normal === undefined)
    throw new ZtError('BAD_INPUT', `${column}: not a valid ${how}`, { hint: hints[how] })
  return normal
}

/** 16 bytes. `column` is the sealed column; `normal` is what normalise gave. @param key 32 bytes */
export function blindIndex(
  key: Bytes,
  place: { tenant: string; table: string; column: string },
  normal: string,
): Bytes {
  const message = lp('ztmysql/v1/blind', place.tenant, place.table, place.column, normal)
  return hmac(sha256, checkLength(key, 'blind-index key', keyLength), message).slice(0, blindLength)
}
