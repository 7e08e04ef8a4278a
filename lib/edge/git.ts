import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { runClean } from './child.ts'

/**
 * Which commit a source tree is: 12 digits, with `-dirty` behind them where anything differs or is added,
 * `no-commit` outside a repository (a tarball) or before the first commit.
 */
export async function sourceCommit(root: string, say: (line: string) => void): Promise<string> {
  if (!existsSync(join(root, '.git'))) return 'no-commit'
  if (!Bun.which('git')) {
    say('git is not installed: the binaries will say no-commit')
    return 'no-commit'
  }
  // No lock: a build must not disturb a git command beside it. safe.directory: root builds other people's trees.
  // --git-dir: a broken repository must not be taken for a part of one above it.
  const git = ['git', '--no-optional-locks', '-c', 'safe.directory=*', '--git-dir=.git', '--work-tree=.']
  const head = await runClean([...git, 'rev-parse', '--verify', '--quiet', 'HEAD'], root)
  if (head.exitCode === 1 && head.stderr === '') return 'no-commit'
  const status = await runClean([...git, 'status', '--porcelain'], root)
  for (const { exitCode, stderr } of [head, status])
    if (exitCode !== 0) throw new ZtError('IO', `${root}: git cannot read it: ${stderr.trim()}`)
  return `${head.stdout.slice(0, 12)}${status.stdout === '' ? '' : '-dirty'}`
}
