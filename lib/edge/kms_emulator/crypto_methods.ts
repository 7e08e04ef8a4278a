/** Encrypt and Decrypt, with the checksums of both directions and the faults that were asked for. */
import { crc32c } from '../../core/crc32c.ts'
import { authorise } from './access.ts'
import { RpcError } from './errors.ts'
import type { Damage } from './faults.ts'
import { requireKey, requireVersion } from './keys.ts'
import type { Message } from './messages.ts'
import type { State } from './state.ts'
import { open, seal } from './vault.ts'

/** One call: the state it sees, who asks, and what goes wrong on purpose. */
export interface Call {
  readonly state: State
  readonly identity: string
  readonly damage: ReadonlySet<Damage>
}

type Checksum = { value?: unknown } | null | undefined

const bytesOf = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : new Uint8Array())

/** True where a checksum came and is right. @throws INVALID_ARGUMENT where it is wrong */
function verify(bytes: Uint8Array, checksum: Checksum, field: string, call: Call): boolean {
  const skip: Damage = field === 'plaintext_crc32c' ? 'unverified-plaintext' : 'unverified-aad'
  if (checksum?.value === undefined || checksum.value === null || call.damage.has(skip)) return false
  if (String(checksum.value) !== String(crc32c(bytes)))
    throw new RpcError(
      'INVALID_ARGUMENT',
      `The checksum in field ${field} did not match the data in field ${field.replace('_crc32c', '')}.`,
    )
  return true
}

/** What the server sees of a request's bytes. */
const received = (bytes: Uint8Array, call: Call): Uint8Array =>
  call.damage.has('corrupt-request') ? flipped(bytes) : bytes

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1
  return copy
}

/** The answer's bytes and checksum as they leave. */
function sent(bytes: Uint8Array, call: Call) {
  const crc = call.damage.has('wrong-checksum') ? crc32c(bytes) ^ 1 : crc32c(bytes)
  const damaged = call.damage.has('corrupt-answer') ? flipped(bytes) : bytes
  return {
    bytes: Buffer.from(call.damage.has('truncate-answer') ? damaged.subarray(0, -1) : damaged),
    checksum: call.damage.has('no-checksum') ? null : { value: crc >>> 0 },
  }
}

/** Cloud KMS: 64 KiB each, or 8 KiB together for a key of the HSM. */
function checkSizes(data: Uint8Array, aad: Uint8Array, asked: 'SOFTWARE' | 'HSM'): void {
  if (data.length === 0) throw new RpcError('INVALID_ARGUMENT', 'The data field is empty.')
  if (data.length > 65_536 || aad.length > 65_536 || (asked === 'HSM' && data.length + aad.length > 8_192))
    throw new RpcError('INVALID_ARGUMENT', 'The data or the additional authenticated data is too large.')
}

export function encrypt(request: Message<'EncryptRequest'>, call: Call): Message<'EncryptResponse'> {
  const [keyName = '', versionId] = (request.name ?? '').split('/cryptoKeyVersions/')
  authorise(call.state, call.identity, 'encrypt', 'cryptoKeyVersions.useToEncrypt', keyName)
  const key = requireKey(call.state, keyName)
  const plaintext = received(bytesOf(request.plaintext), call)
  const aad = bytesOf(request.additionalAuthenticatedData)
  checkSizes(plaintext, aad, key.askedProtection)
  const verifiedPlaintext = verify(plaintext, request.plaintextCrc32c, 'plaintext_crc32c', call)
  const verifiedAad = verify(
    aad,
    request.additionalAuthenticatedDataCrc32c,
    'additional_authenticated_data_crc32c',
    call,
  )
  const id = versionId ?? (key.primary === null ? undefined : String(key.primary))
  if (id === undefined) throw new RpcError('FAILED_PRECONDITION', `${keyName} has no primary version.`)
  const version = requireVersion(key, keyName, id)
  const { bytes, checksum } = sent(seal(keyName, version, plaintext, aad), call)
  const answered = call.damage.has('wrong-key-name') ? `${keyName}-other` : keyName
  return {
    name: `${answered}/cryptoKeyVersions/${version.number}`,
    ciphertext: bytes,
    ciphertextCrc32c: checksum,
    verifiedPlaintextCrc32c: verifiedPlaintext,
    verifiedAdditionalAuthenticatedDataCrc32c: verifiedAad,
    protectionLevel: 'SOFTWARE',
  }
}

export function decrypt(request: Message<'DecryptRequest'>, call: Call): Message<'DecryptResponse'> {
  const keyName = request.name ?? ''
  authorise(call.state, call.identity, 'decrypt', 'cryptoKeyVersions.useToDecrypt', keyName)
  const key = requireKey(call.state, keyName)
  const ciphertext = received(bytesOf(request.ciphertext), call)
  const aad = bytesOf(request.additionalAuthenticatedData)
  verify(ciphertext, request.ciphertextCrc32c, 'ciphertext_crc32c', call)
  verify(aad, request.additionalAuthenticatedDataCrc32c, 'additional_authenticated_data_crc32c', call)
  const opened = open(keyName, key, ciphertext, aad)
  const { bytes, checksum } = sent(opened.plaintext, call)
  return {
    plaintext: bytes,
    plaintextCrc32c: checksum,
    usedPrimary: opened.number === key.primary,
    protectionLevel: 'SOFTWARE',
  }
}
