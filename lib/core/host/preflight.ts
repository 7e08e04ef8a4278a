/** What the kernel and the data folder say before an installation, read without touching either. */

/** Bytes that must be free: packages and a first data folder, or a run on what is there. */
export const freeBytes = { install: 1600 << 20, run: 256 << 20 } as const

const listening = '0A'

/**
 * Inodes of the sockets that listen on a port, of /proc/net/tcp or tcp6: `sl local_address rem_address st … inode`, the
 * port in hex behind the last colon.
 */
export function listenersOn(port: number, table: string): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  return table
    .split('\n')
    .slice(1)
    .map(line => line.trim().split(/\s+/))
    .flatMap(([, local = '', , state, , , , , , inode]) =>
      state === listening && local.endsWith(`:${hex}`) && inode !== undefined ? [inode] : [],
    )
}

/** Folders of a data folder that are MySQL's own, or ours. */
const ownFolders = ['mysql', 'performance_schema', 'sys', 'securedb', 'test']

/** Databases of others, by the folders of a data folder: each has one of its name (with `@` for other letters). */
export const otherDatabases = (folders: readonly string[]): string[] =>
  folders.filter(name => !ownFolders.includes(name) && /^[A-Za-z0-9_@$]/.test(name)).sort()
