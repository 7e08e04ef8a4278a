/**
 * Every error a command can end with. The value is the process's exit code:
 * 1 a check or verification failed, 2 usage, 3 could not run.
 */
export const exitCodes = {
  VERIFY_FAILED: 1,
  DRIFT: 1,
  BAD_SIGNATURE: 1,
  BAD_MAC: 1,
  DECRYPT_FAILED: 1,
  BAD_COMMITMENT: 1,
  PLANTED_KEY: 1,
  STALE_ROW: 1,
  CONFLICT: 1,
  REFUSED: 1,
  USAGE: 2,
  BAD_INPUT: 2,
  BAD_FORMAT: 3,
  NEWER_FORMAT: 3,
  BAD_LENGTH: 3,
  BAD_PASSPHRASE: 3,
  NOT_FOUND: 3,
  UNTRUSTED: 3,
  PERMISSION: 3,
  LOCKED: 3,
  IO: 3,
  DISK_FULL: 3,
  UNREACHABLE: 3,
  TLS: 3,
  DENIED: 3,
  KMS: 3,
  MYSQL: 3,
  WORM: 3,
  MISSING_TOOL: 3,
  INTERRUPTED: 3,
  INTERNAL: 3,
} as const satisfies Record<string, 1 | 2 | 3>

export type ErrorCode = keyof typeof exitCodes

/** What to do about an error that brings no hint of its own. */
export const usualHints: Partial<Record<ErrorCode, string>> = {
  VERIFY_FAILED: 'mend nothing: find out where it was changed, or fetch it again from whoever made it',
  BAD_SIGNATURE: 'mend nothing: find out where it was changed, or fetch it again from whoever made it',
  REFUSED: 'see --help for what is accepted',
  CONFLICT: 'see what is there already, then run it again',
  USAGE: 'see --help',
  BAD_INPUT: 'check what was given; --help has examples',
  BAD_FORMAT: 'check that it is the right file; it may be cut or damaged: fetch it again',
  NEWER_FORMAT: 'use a newer release of this program',
  BAD_LENGTH: 'check that it is the right file; it may be cut or damaged: fetch it again',
  NOT_FOUND: 'check the name and the path',
  UNTRUSTED: 'nothing was judged: get the trust folder and the copy of the anchors that belong to this log',
  PERMISSION: 'run it as the owner of the path, or choose another path',
  LOCKED: 'wait until it has finished, then run this again',
  IO: 'check the disk and the path, then run it again',
  DISK_FULL: 'free some space and run it again',
  UNREACHABLE: 'check that it runs and that this machine reaches it',
  TLS: 'check the certificates and the name of the server',
  DENIED: 'check the account, its certificate and its rights',
  KMS: 'run it again; if it stays, see the status of the KMS',
  MYSQL: 'the error log of the database may say more',
  WORM: 'check the store, then run it again',
  MISSING_TOOL: 'install it, or put its folder on PATH',
}

/** An error meant for a person: what and where in the message, what to do in the hint. Never a secret in either. */
export class ZtError extends Error {
  override readonly name = 'ZtError'
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.hint = options.hint
  }

  get exitCode(): 1 | 2 | 3 {
    return exitCodes[this.code]
  }
}

/** The message of anything thrown, for use inside another message. */
export function reason(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
