import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Bytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { parseTrust, type Trust } from '../core/trust.ts'
import { fileError, readRegularFile } from './files.ts'

// The folder comes from elsewhere and its sizes are not signed yet.
const maxBytes = 16 << 20
const maxFiles = 100_000

function readFolder(root: string, folder: string, files: Map<string, Bytes>): void {
  let entries: ReturnType<typeof listed>
  try {
    entries = listed(join(root, folder))
  } catch (thrown) {
    throw fileError(thrown, join(root, folder), 'trust folder')
  }
  for (const entry of entries) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (path === 'certs' && entry.isDirectory()) readFolder(root, path, files)
    else if (!entry.isFile())
      throw new ZtError('BAD_INPUT', `trust folder ${root}: ${path} is not a regular file`, {
        hint: 'a trust folder holds files and the folder certs/ alone: copy it again',
      })
    else files.set(path, readRegularFile(join(root, path), 'trust folder:', maxBytes))
    if (files.size > maxFiles)
      throw new ZtError('BAD_INPUT', `trust folder ${root}: more than ${maxFiles} files`)
  }
}

const listed = (path: string) => readdirSync(path, { withFileTypes: true })

/**
 * The trust folder at `dir`, verified.
 * @param options.caSha256 hex SHA-256 of the CA certificate, got by another way than the folder
 * @throws as parseTrust; BAD_INPUT on links, other files than regular ones and sizes beyond reason
 */
export function readTrust(dir: string, options: { caSha256?: string | undefined } = {}): Trust {
  const files = new Map<string, Bytes>()
  readFolder(dir, '', files)
  return parseTrust(files, options)
}
