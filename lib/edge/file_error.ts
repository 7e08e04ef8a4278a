import { unlinkSync } from 'node:fs'
import { type ErrorCode, reason, ZtError } from '../core/errors.ts'

const known: Record<string, [ErrorCode, message: string, hint: string]> = {
  ENOENT: ['NOT_FOUND', 'no such file or folder', 'check the path'],
  EACCES: ['PERMISSION', 'permission denied', 'run it as the owner of the path, or choose another path'],
  EPERM: ['PERMISSION', 'not permitted', 'run it as the owner of the path, or choose another path'],
  EROFS: ['PERMISSION', 'the file system is read-only', 'choose another path'],
  ENOSPC: ['DISK_FULL', 'no space left on the disk', 'free some space and run it again'],
  EDQUOT: ['DISK_FULL', 'the disk quota is used up', 'free some space and run it again'],
  EFBIG: ['DISK_FULL', 'larger than the file-size limit', 'raise the limit (ulimit -f) and run it again'],
  EEXIST: ['CONFLICT', 'exists already', 'choose another path, or move the existing one away'],
  EISDIR: ['BAD_INPUT', 'is a folder, not a file', 'name a file'],
  ENOTDIR: ['BAD_INPUT', 'a part of the path is a file, not a folder', 'check the path'],
  ELOOP: ['PERMISSION', 'is a symbolic link', 'name the file itself: links are refused here'],
}

/** The errno name (`ENOENT`) of what the file system threw. */
export const errno = (thrown: unknown): string | undefined => {
  const code = (thrown as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

/** The ZtError for what the file system threw: NOT_FOUND, PERMISSION, DISK_FULL, CONFLICT, BAD_INPUT or IO. */
export function fileError(thrown: unknown, path: string, what?: string): ZtError {
  if (thrown instanceof ZtError) return thrown
  const [code, message, hint] = known[errno(thrown) ?? ''] ?? ['IO', reason(thrown), undefined]
  const subject = what === undefined ? path : `${what} ${path}`
  return new ZtError(code, `${subject}: ${message}`, {
    cause: thrown,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** Unlinks a file; one that is not there is fine. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch (thrown) {
    if (errno(thrown) !== 'ENOENT') throw fileError(thrown, path)
  }
}
