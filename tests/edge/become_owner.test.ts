import { expect, test } from 'bun:test'
import { chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const isRoot = process.geteuid?.() === 0
const nobody = 65534

/** What a process that becomes the owner of `dir` is then, in every one of its threads. */
async function becomes(dir: string) {
  const module = resolve(import.meta.dir, '../../lib/edge/become_owner.ts')
  const scratch = mkdtempSync(join(tmpdir(), 'zt-owner-'))
  const script = join(scratch, 'child.ts')
  writeFileSync(
    script,
    `import { readdirSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { becomeOwner } from ${JSON.stringify(module)}
await readFile('/proc/self/status') // the pool of threads is there already
becomeOwner(${JSON.stringify(dir)})
const field = (text, name) => new RegExp(name + ':\\\\s*(.*)').exec(text)?.[1]
const threads = readdirSync('/proc/self/task').map(t => readFileSync('/proc/self/task/' + t + '/status', 'utf8'))
console.log(JSON.stringify({
  uids: [...new Set(threads.map(t => field(t, 'Uid')))],
  gids: [...new Set(threads.map(t => field(t, 'Gid')))],
  capabilities: [...new Set(threads.map(t => field(t, 'CapEff')))],
}))`,
  )
  try {
    const child = Bun.spawn([process.execPath, script], { stdout: 'pipe', stderr: 'pipe' })
    const [stdout, stderr] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ])
    return stderr === '' ? JSON.parse(stdout) : stderr
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

const ids = (id: number | undefined) => [id, id, id, id].join('\t')

test('a process goes on as the owner of the folder if it is root, and as itself if it is not', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'zt-owned-'))
  try {
    const owned = join(dir, 'state')
    mkdirSync(owned, { mode: 0o700 })
    if (isRoot) chownSync(owned, nobody, nobody)
    const now = await becomes(owned)
    if (isRoot)
      expect(now).toEqual({ uids: [ids(nobody)], gids: [ids(nobody)], capabilities: ['0'.repeat(16)] })
    else expect(now).toMatchObject({ uids: [ids(process.getuid?.())], gids: [ids(process.getgid?.())] })
    expect(await becomes(join(dir, 'absent'))).toMatchObject({ uids: [ids(process.getuid?.())] })
  } finally {
    rmSync(dir, { recursive: true })
  }
})
