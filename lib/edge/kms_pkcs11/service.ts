/** What the process with the module does with a request, and with which key of the token. */
import { type Bytes, concat, equal, random, toHex } from '../../core/bytes.ts'
import { lp } from '../../core/lp.ts'
import { formatPkcs11Name, type Pkcs11Name } from '../../core/pkcs11_uri.ts'
import { DamagedAnswer, KmsFailure } from '../kms_call.ts'
import { type Cryptoki, CryptokiError, type Token, type TokenKey } from './cryptoki.ts'
import { isMismatch } from './failure.ts'

const format = 1
const nonceLength = 12

/** What was done, and by which key of which token as the token tells afterwards. */
export interface Done {
  readonly output: Bytes
  readonly token: string
  readonly serial: string
  readonly object: string
  readonly id: Bytes
}

export interface Service {
  encrypt(payload: Bytes, aad: Bytes): Done
  decrypt(ciphertext: Bytes, aad: Bytes): Done
}

const hintOfKey =
  'make one: pkcs11-tool --keygen --key-type AES:32 --sensitive --label LABEL --id 01, within the token'

function findToken(module: Cryptoki, { token, serial }: Pkcs11Name): Token {
  const found = module
    .tokens()
    .filter(known => known.label === token && (serial === undefined || known.serial === serial))
  const [only, another] = found
  if (only === undefined)
    throw new KmsFailure('NOT_FOUND', 'the module has no such token', 'check the token, and that it is there')
  if (another !== undefined)
    throw new KmsFailure('FAILED_PRECONDITION', 'two tokens have that label', 'add serial= to the URI')
  return only
}

/** The greatest id, read as a number: the newest version of the key. */
const newer = (a: Bytes, b: Bytes): boolean => BigInt(`0x0${toHex(a)}`) > BigInt(`0x0${toHex(b)}`)

function judgeKey(key: TokenKey): TokenKey {
  if (!key.aes || key.length !== 32)
    throw new KmsFailure('FAILED_PRECONDITION', 'the key is not of AES with 256 bits', hintOfKey)
  if (!key.sensitive || key.extractable)
    throw new KmsFailure('FAILED_PRECONDITION', 'the key may leave the token', hintOfKey)
  return key
}

/** Logs in. @throws KmsFailure, CryptokiError */
export function openService(module: Cryptoki, name: Pkcs11Name, pin: Bytes): Service {
  const { slot } = findToken(module, name)
  const session = module.login(slot, pin)

  const context = (id: Bytes, aad: Bytes): Bytes =>
    lp('ztmysql/v1/pkcs11', `pkcs11:${formatPkcs11Name(name)}`, toHex(id), aad)

  /** Those that the URI names, each with an id of its own. */
  const versions = (): TokenKey[] => {
    const keys = module
      .keys(session, name.object)
      .filter(key => name.id === undefined || equal(key.id, name.id))
    if (keys.length === 0) throw new KmsFailure('NOT_FOUND', 'the token has no such key', hintOfKey)
    const ids = new Set(keys.map(key => toHex(key.id)))
    if (ids.size !== keys.length || ids.has(''))
      throw new KmsFailure(
        'FAILED_PRECONDITION',
        'two keys of that label have one id, or a key has none',
        'give each version of a key an id of its own',
      )
    return keys
  }

  const done = (output: Bytes, handle: bigint): Done => {
    const { label, serial } = module.tokenOf(session)
    const key = module.key(session, handle)
    return { output, token: label, serial, object: key.label, id: key.id }
  }

  return {
    encrypt: (payload, aad) => {
      const all = versions()
      const usable = all.filter(key => key.encrypts)
      const [first, ...others] = usable
      if (first === undefined)
        throw new KmsFailure('PERMISSION_DENIED', 'no version of the key may encrypt', 'see its CKA_ENCRYPT')
      const key = judgeKey(
        others.reduce((newest, each) => (newer(each.id, newest.id) ? each : newest), first),
      )
      const [nonce, sealed] = module.encrypt(
        session,
        key.handle,
        random(nonceLength),
        context(key.id, aad),
        payload,
      )
      // PKCS#11 has no checksum of an answer. Where the key may decrypt, what it cannot open is never stored.
      if (key.decrypts) {
        let same = false
        try {
          const again = module.decrypt(session, key.handle, nonce, context(key.id, aad), sealed)
          same = equal(again, payload)
          again.fill(0)
        } catch (thrown) {
          if (!(thrown instanceof CryptokiError) || !isMismatch(thrown)) throw thrown
        }
        if (!same) throw new DamagedAnswer('what was sealed does not open')
      }
      return done(concat(Uint8Array.of(format, key.id.length), key.id, nonce, sealed), key.handle)
    },
    decrypt: (ciphertext, aad) => {
      const [version, idLength = 0] = ciphertext
      const at = 2 + idLength
      if (version !== format || idLength === 0 || ciphertext.length < at + nonceLength + 16)
        throw new KmsFailure('INVALID_ARGUMENT', 'the ciphertext is not of a PKCS#11 key')
      const id = ciphertext.subarray(2, at)
      const key = versions().find(known => equal(known.id, id))
      if (key === undefined)
        throw new KmsFailure(
          'FAILED_PRECONDITION',
          `the token has no version ${toHex(id)} of the key`,
          'it was destroyed, or is in another token: what it sealed stays sealed',
        )
      judgeKey(key)
      const nonce = ciphertext.subarray(at, at + nonceLength)
      const sealed = ciphertext.subarray(at + nonceLength)
      return done(module.decrypt(session, key.handle, nonce, context(id, aad), sealed), key.handle)
    },
  }
}
