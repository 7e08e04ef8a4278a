import { statSync } from 'node:fs'
import { ZtError } from '../core/errors.ts'

/**
 * Started by root for a folder of another account: goes on as that account, for good. MySQL's auth_socket knows that
 * account alone, and what root wrote there the service could not read again. A folder that is not there changes nothing.
 * @throws PERMISSION
 */
export function becomeOwner(dir: string): void {
  if (process.geteuid?.() !== 0) return
  const owner = statSync(dir, { throwIfNoEntry: false })
  if (owner === undefined || owner.uid === 0) return
  // node and Bun have it, the types do not
  const { initgroups } = process as { initgroups?: (user: number, group: number) => void }
  initgroups?.(owner.uid, owner.gid)
  process.setgid?.(owner.gid)
  process.setuid?.(owner.uid)
  if (
    process.getuid?.() !== owner.uid ||
    process.geteuid() !== owner.uid ||
    process.getegid?.() !== owner.gid
  )
    throw new ZtError('PERMISSION', `${dir}: cannot become the account that owns it (uid ${owner.uid})`)
}
