/** Oracle's apt repository as data, and the fingerprint that its key must have. Not tested here: no network to it. */
import { sha1 } from '@noble/hashes/legacy.js'
import { type Bytes, fromBase64, toHex } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { type Distribution, parseOsRelease } from './distribution.ts'

export const oracleRepository = {
  url: 'https://repo.mysql.com/apt',
  /** The long-term line. */
  component: 'mysql-8.4-lts',
  keyUrl: 'https://repo.mysql.com/RPM-GPG-KEY-mysql-2025',
  /** MySQL Release Engineering; https://dev.mysql.com/doc/refman/8.4/en/checking-gpg-signature.html */
  fingerprint: 'bca43417c3b485dd128ec6d4b7b3b788a8d3785c',
  keyPath: '/etc/apt/keyrings/zero-trust-mysql.asc',
  sourcesPath: '/etc/apt/sources.list.d/zero-trust-mysql.sources',
} as const

/** @throws REFUSED where Oracle makes no packages for the system */
export function oracleSuite(distribution: Distribution, osRelease: string): string {
  const codename = parseOsRelease(osRelease).get('VERSION_CODENAME')
  if (distribution.version !== 'sid' && codename !== undefined && /^[a-z]+$/.test(codename)) return codename
  throw new ZtError('REFUSED', `Oracle's repository has no packages for ${distribution.name}`, {
    hint: 'give another --mysql-source',
  })
}

/** deb822 (sources.list(5)); the key counts for this repository alone. */
export const oracleSources = ({ id }: Distribution, suite: string): string => `# Written by vm_oneclick.
Types: deb
URIs: ${oracleRepository.url}/${id}/
Suites: ${suite}
Components: ${oracleRepository.component}
Signed-By: ${oracleRepository.keyPath}
`

function dearmor(text: string): Bytes {
  const found =
    /^-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[A-Za-z]+: .*\r?\n)*\r?\n([A-Za-z0-9+/=\r\n]+?)\r?\n(?:=[A-Za-z0-9+/]{4}\r?\n)?-----END PGP PUBLIC KEY BLOCK-----\s*$/.exec(
      text,
    )
  const body = found?.[1]
  if (body === undefined) throw new ZtError('BAD_FORMAT', 'OpenPGP key: not one armored public key')
  return fromBase64(body.replaceAll(/\s/g, ''), 'OpenPGP key')
}

/** The packets of a key, tag and body (RFC 4880 §4.2). */
function* packets(bytes: Bytes): Generator<{ tag: number; body: Bytes }> {
  const fail = () => new ZtError('BAD_FORMAT', 'OpenPGP key: its packets are cut')
  for (let at = 0; at < bytes.length; ) {
    const head = bytes[at] ?? 0
    const isNew = (head & 0x40) !== 0
    if ((head & 0x80) === 0) throw fail()
    const first = bytes[at + 1] ?? 0
    const count = isNew ? (first < 192 ? 1 : first < 224 ? 2 : 5) : 1 << (head & 3)
    if ((!isNew && count > 4) || (isNew && first >= 224 && first < 255)) throw fail()
    const number = (from: number, to: number) =>
      bytes.subarray(from, to).reduce((n, byte) => n * 256 + byte, 0)
    const length = !isNew
      ? number(at + 1, at + 1 + count)
      : count === 1
        ? first
        : count === 2
          ? ((first - 192) << 8) + (bytes[at + 2] ?? 0) + 192
          : number(at + 2, at + 6)
    const start = at + 1 + count
    if (start + length > bytes.length) throw fail()
    yield { tag: isNew ? head & 63 : (head >> 2) & 15, body: bytes.subarray(start, start + length) }
    at = start + length
  }
}

/**
 * Fingerprints of the primary keys in an armored block: SHA-1(0x99 ‖ length[2] ‖ body) of each version 4 public-key
 * packet, hex (RFC 4880 §12.2). Their own signatures are apt's to check.
 * @throws BAD_FORMAT
 */
export function openPgpFingerprints(armored: string): string[] {
  return [...packets(dearmor(armored))]
    .filter(({ tag }) => tag === 6)
    .map(({ body }) => {
      if (body[0] !== 4) throw new ZtError('BAD_FORMAT', 'OpenPGP key: not of version 4')
      return toHex(sha1(new Uint8Array([0x99, body.length >> 8, body.length & 255, ...body])))
    })
}

/** @throws REFUSED unless the block holds Oracle's key and no other */
export function checkOracleKey(armored: string): void {
  const found = openPgpFingerprints(armored)
  if (found.length === 1 && found[0] === oracleRepository.fingerprint) return
  throw new ZtError('REFUSED', `${oracleRepository.keyUrl}: holds ${found.join(', ') || 'no key'}`, {
    hint: `it must be ${oracleRepository.fingerprint}: see what Oracle publishes, and trust nothing else`,
  })
}
