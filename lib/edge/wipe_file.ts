import { closeSync, fsyncSync, openSync, statSync, writeSync } from 'node:fs'
import { fileError, removeFile } from './file_error.ts'

/** Overwrites a file and removes it. A disk that remaps its blocks, and every copy, keep what they have. */
export function wipeFile(path: string): void {
  try {
    const fd = openSync(path, 'r+')
    try {
      const zeros = new Uint8Array(statSync(path).size)
      for (let done = 0; done < zeros.length; ) done += writeSync(fd, zeros, done, zeros.length - done, done)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  } catch (thrown) {
    throw fileError(thrown, path, 'key file')
  }
  removeFile(path)
}
