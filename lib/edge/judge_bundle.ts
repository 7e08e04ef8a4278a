/** Reads a bundle and the auditor's folders, and hands them to the pure judge. */
import { goldenFingerprints, tableDefinitions } from '../../sql/index.ts'
import { ZtError } from '../core/errors.ts'
import { isBundleName } from '../core/proof/bundle.ts'
import { type Profile, profiles } from '../core/proof/profile.ts'
import { type BundleVerdict, verifyBundle } from '../core/proof/verify_bundle.ts'
import { unpackArchive } from './archive.ts'
import { readRegularFile } from './files.ts'
import { readTrust } from './trust.ts'
import { readAnchors } from './verify.ts'

// whoever made the bundle chose its size: these bound what a hostile one can take
const packedMaxBytes = 64 << 20
const unpackedMaxBytes = 192 << 20
/** Observations, a hundred anchors, and room for releases to come. */
const mostEntries = 2000

export interface JudgeBundleOptions {
  trust: string
  anchors: string
  caSha256?: string
  nonce?: string
  require: string
  signatures: 'last' | 'all'
  gapSeconds: number
}

/** @throws VERIFY_FAILED for anything that is wrong with the bundle itself: a broken proof is no proof */
export async function judgeBundle(path: string, options: JudgeBundleOptions): Promise<BundleVerdict> {
  const profile = profiles.find((known): known is Profile => known === options.require)
  if (!profile) throw new ZtError('USAGE', `--require: expected one of ${profiles.join(', ')}`)
  const trust = await readTrust(
    options.trust,
    options.caSha256 === undefined ? {} : { caSha256: options.caSha256 },
  )
  const anchors = await readAnchors(options.anchors)
  const packed = readRegularFile(path, 'bundle', packedMaxBytes)
  try {
    let entries = 0
    const files = await unpackArchive(
      packed,
      path,
      unpackedMaxBytes,
      name => isBundleName(name) && ++entries <= mostEntries,
    )
    return await verifyBundle(files, {
      trust,
      anchors,
      definitions: tableDefinitions,
      golden: goldenFingerprints,
      profile,
      now: Date.now(),
      signatures: options.signatures,
      gapSeconds: options.gapSeconds,
      ...(options.nonce === undefined ? {} : { nonce: options.nonce }),
    })
  } catch (thrown) {
    if (!(thrown instanceof ZtError)) throw thrown
    throw new ZtError('VERIFY_FAILED', thrown.message, {
      cause: thrown,
      ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
    })
  }
}
