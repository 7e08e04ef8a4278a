/** Countersigns a bundle, and checks a countersignature. */
import { p256 } from '@noble/curves/nist.js'
import { tableDefinitions } from '../../sql/index.ts'
import { type Bytes, fromUtf8, toHex } from '../core/bytes.ts'
import { parsePem } from '../core/pem.ts'
import { p256Secret } from '../core/pkcs8.ts'
import { type BundleFiles, readBundle } from '../core/proof/bundle.ts'
import { checkCountersignature, countersign, signatureMaxBytes } from '../core/proof/countersign.ts'
import { signerOf } from '../core/signature.ts'
import { formatTime } from '../core/time.ts'
import { p256Point, p256Spki, readCertificate } from '../core/x509.ts'
import { asVerdict, readBundleFile } from './bundle_file.ts'
import { readPrivateFile, readRegularFile, writeFileAtomic } from './files.ts'

const signaturePath = (bundle: string): string => `${bundle}.dsse.json`

export interface SignedBundle {
  out: string
  /** Hex of SHA-256 of the manifest. */
  digest: string
  files: number
  keyId: string
}

export async function signBundle(
  path: string,
  { signKey, out = signaturePath(path) }: { signKey: string; out?: string },
): Promise<SignedBundle> {
  const secret = p256Secret(fromUtf8(readPrivateFile(signKey, 'key'), signKey), signKey)
  const keyid = toHex(signerOf(p256Spki(p256.getPublicKey(secret, false))))
  const files = await readBundleFile(path)
  // what does not even hold together is not worth a signature
  const { manifest, digest } = await asVerdict(() => readBundle(files, tableDefinitions))
  const { origin, nonce } = manifest
  const received = formatTime(Date.now() * 1000)
  writeFileAtomic(out, countersign(files, { origin, nonce, received }, { secret, keyid }), 0o644) // it is to be handed on
  return { out, digest, files: files.size, keyId: keyid }
}

/** Who signed, in words. @throws BAD_FORMAT, BAD_SIGNATURE, VERIFY_FAILED, NOT_FOUND */
export async function signerOfBundle(
  path: string,
  files: BundleFiles,
  signedBy: string,
  signature = signaturePath(path),
): Promise<string> {
  const pem = fromUtf8(readRegularFile(signedBy, 'public key', 1 << 16), signedBy)
  const { point, name } = publicKeyIn(pem, signedBy)
  const envelope = readRegularFile(signature, 'signature', signatureMaxBytes)
  const { received } = await asVerdict(() => checkCountersignature(envelope, files, point, signature))
  return `${name}, who says to have received it at ${received}`
}

function publicKeyIn(pem: string, what: string): { point: Bytes; name: string } {
  if (pem.includes('BEGIN CERTIFICATE')) {
    const { spki, subject } = readCertificate(parsePem(pem, 'CERTIFICATE', what), what)
    return { point: p256Point(spki, what), name: subject }
  }
  const spki = parsePem(pem, 'PUBLIC KEY', what)
  return { point: p256Point(spki, what), name: `key ${toHex(signerOf(spki))}` }
}
