/** The secret scalar in an unencrypted PKCS#8 file of a P-256 key (RFC 5958, RFC 5915), and nothing more of ASN.1. */
import { p256 } from '@noble/curves/nist.js'
import { type Bytes, equal, fromHex } from './bytes.ts'
import { ZtError } from './errors.ts'
import { parsePem } from './pem.ts'

const ecP256 = fromHex('06072a8648ce3d020106082a8648ce3d030107', 'algorithm of P-256')
const oidP256 = fromHex('06082a8648ce3d030107', 'curve P-256')

/** One DER element at a time; every length is checked before a byte is taken. */
class Reader {
  #bytes: Bytes
  readonly #fail: (why: string) => ZtError

  constructor(bytes: Bytes, fail: (why: string) => ZtError) {
    this.#bytes = bytes
    this.#fail = fail
  }

  get next(): number | undefined {
    return this.#bytes[0]
  }

  /** Content of the next element. */
  take(tag: number): Bytes {
    const [found, first = 0] = this.#bytes
    const long = first === 0x81
    const length = long ? (this.#bytes[2] ?? 0) : first
    const start = long ? 3 : 2
    // 0x81 below 0x80 is not DER; longer forms are longer than any P-256 key
    if (found !== tag || (long ? length < 0x80 : first > 0x7f) || this.#bytes.length < start + length)
      throw this.#fail('its DER is malformed')
    const content = this.#bytes.subarray(start, start + length)
    this.#bytes = this.#bytes.subarray(start + length)
    return content
  }

  inside(tag: number): Reader {
    return new Reader(this.take(tag), this.#fail)
  }

  version(expected: number): void {
    if (!equal(this.take(0x02), Uint8Array.of(expected))) throw this.#fail('unknown version')
  }

  end(): void {
    if (this.#bytes.length > 0) throw this.#fail('bytes follow it')
  }
}

/** 32 bytes. @param pem `BEGIN PRIVATE KEY`. @throws BAD_FORMAT; no message repeats a byte of it */
export function p256Secret(pem: string, what: string): Bytes {
  const fail = (why: string) =>
    new ZtError('BAD_FORMAT', `${what}: ${why}`, {
      hint: 'it should be the PKCS#8 file of a P-256 key, as outside_pki writes it',
    })
  if (pem.includes('ENCRYPTED')) throw fail('is encrypted')
  const outer = new Reader(parsePem(pem, 'PRIVATE KEY', what), fail)
  const info = outer.inside(0x30)
  outer.end()
  info.version(0)
  if (!equal(info.take(0x30), ecP256)) throw fail('is not a P-256 key')
  const wrapped = info.inside(0x04)
  info.end()
  const key = wrapped.inside(0x30)
  wrapped.end()
  key.version(1)
  const secret = key.take(0x04)
  if (secret.length !== 32 || !p256.utils.isValidSecretKey(secret)) throw fail('is not a P-256 key')
  if (key.next === 0xa0 && !equal(key.take(0xa0), oidP256)) throw fail('is of another curve')
  if (key.next === 0xa1) checkPoint(key.inside(0xa1), secret, fail)
  key.end()
  return secret.slice()
}

function checkPoint(reader: Reader, secret: Bytes, fail: (why: string) => ZtError): void {
  const bits = reader.take(0x03)
  reader.end()
  if (bits[0] !== 0 || !equal(bits.subarray(1), p256.getPublicKey(secret, false)))
    throw fail('its public key is not its own')
}
