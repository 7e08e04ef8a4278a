/** Set by scripts/build.ts at compile time; absent when run from source. */
declare const ZT_COMMIT: string | undefined

import manifest from '../package.json' with { type: 'json' }

export const version = manifest.version
/** The commit a binary was built from, `COMMIT-dirty` for a changed tree, `no-commit` for a tarball, `source` uncompiled. */
export const commit = typeof ZT_COMMIT === 'string' ? ZT_COMMIT : 'source'
