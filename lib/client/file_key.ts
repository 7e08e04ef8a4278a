/** `pq_envelope_cli file-key`: a KMS key in a file, for trials. */
import { resolve } from 'node:path'
import { resolveKmsKey } from '../edge/kms.ts'
import { makeFileKey, rotateFileKey } from '../edge/kms_file.ts'

/** One line of JSON with the key's URI and the version that seals. @throws CONFLICT, BAD_FORMAT (of the path) */
export async function fileKey(file: string, { rotate = false }: { rotate?: boolean }): Promise<string> {
  const path = resolve(file)
  const kmsKey = resolveKmsKey(`file://${path}`)
  if (rotate) return JSON.stringify({ kmsKey, version: rotateFileKey(path) })
  makeFileKey(path)
  return JSON.stringify({ kmsKey, version: 1 })
}
