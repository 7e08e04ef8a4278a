/** Reads a bundle into memory: nothing of it ever reaches the disk. */
import { statSync } from 'node:fs'
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { type BundleFiles, bundleGate } from '../core/proof/bundle.ts'
import { unpackArchive } from './archive.ts'
import { readRegularFile } from './files.ts'

// whoever made the bundle chose its size: these bound what a hostile one can take
const packedMaxBytes = 32 << 20
const unpackedMaxBytes = 64 << 20

/** Evidence is to be handed on. */
export const bundleMode = 0o644

/** @throws VERIFY_FAILED where it is larger than any bundle */
function readPacked(path: string): Bytes {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > packedMaxBytes)
    throw new ZtError('VERIFY_FAILED', `${path}: ${size} bytes, a bundle has at most ${packedMaxBytes}`, {
      hint: 'a longer trail is checked by chain_verify, which streams',
    })
  return readRegularFile(path, 'bundle', packedMaxBytes)
}

export async function readBundleFile(path: string): Promise<BundleFiles> {
  const packed = readPacked(path)
  return asVerdict(() => unpackArchive(packed, path, unpackedMaxBytes, bundleGate(), bundleMode))
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
