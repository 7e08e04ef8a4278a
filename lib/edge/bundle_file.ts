/** Reads a bundle into memory: nothing of it ever reaches the disk. */
import { ZtError } from '../core/errors.ts'
import { type BundleFiles, isBundleName } from '../core/proof/bundle.ts'
import { unpackArchive } from './archive.ts'
import { readRegularFile } from './files.ts'

// whoever made the bundle chose its size: these bound what a hostile one can take
const packedMaxBytes = 64 << 20
const unpackedMaxBytes = 192 << 20
/** Observations, a hundred anchors, and room for releases to come. */
const mostEntries = 2000

export async function readBundleFile(path: string): Promise<BundleFiles> {
  const packed = readRegularFile(path, 'bundle', packedMaxBytes)
  let entries = 0
  const wanted = (name: string): boolean => isBundleName(name) && ++entries <= mostEntries
  return asVerdict(() => unpackArchive(packed, path, unpackedMaxBytes, wanted))
}

/** Runs `act`; whatever is wrong with a bundle is a failed verification: a broken proof is no proof. */
export async function asVerdict<T>(act: () => Promise<T> | T): Promise<T> {
  try {
    return await act()
  } catch (thrown) {
    if (!(thrown instanceof ZtError)) throw thrown
    throw new ZtError('VERIFY_FAILED', thrown.message, {
      cause: thrown,
      ...(thrown.hint === undefined ? {} : { hint: thrown.hint }),
    })
  }
}
