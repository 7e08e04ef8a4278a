import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ZtError } from '../../lib/core/errors.ts'
import * as files from '../../lib/edge/files.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-files-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const mode = (path: string) => statSync(path).mode & 0o7777
const at = (name: string) => join(dir, name)

function refusal(act: () => unknown): ZtError {
  try {
    act()
  } catch (thrown) {
    if (thrown instanceof ZtError) return thrown
    throw thrown
  }
  throw new Error('it was accepted')
}

/** Runs a snippet in a process of its own with the files module as `f` and the folder as `dir`. */
function child(snippet: string, wrap: (command: string[]) => string[] = command => command) {
  const module = resolve(import.meta.dir, '../../lib/edge/files.ts')
  const cli = resolve(import.meta.dir, '../../lib/cli.ts')
  const script = at('child.ts')
  writeFileSync(
    script,
    `import * as f from ${JSON.stringify(module)}
import * as cli from ${JSON.stringify(cli)}
const dir = ${JSON.stringify(dir)}
cli.say(''); ${snippet}`,
  )
  return Bun.spawn(wrap([process.execPath, script]), { stdout: 'pipe', stderr: 'pipe' })
}

describe('outputs', () => {
  test('replace whole, with the exact mode, whatever the umask', () => {
    const umask = process.umask(0o077)
    try {
      writeFileSync(at('a'), 'old')
      files.writeFileAtomic(at('a'), 'new', 0o644)
      files.writeFileAtomic(at('secret'), new Uint8Array([1, 2]))
    } finally {
      process.umask(umask)
    }
    expect(readFileSync(at('a'), 'utf8')).toBe('new')
    expect(mode(at('a'))).toBe(0o644)
    expect(mode(at('secret'))).toBe(0o600)
    expect(readdirSync(dir).sort()).toEqual(['a', 'secret'])
  })

  test('replace a link itself, never what it points to', () => {
    writeFileSync(at('victim'), 'untouched')
    symlinkSync(at('victim'), at('link'))
    files.writeFileAtomic(at('link'), 'x')
    expect(readFileSync(at('victim'), 'utf8')).toBe('untouched')
    expect(readFileSync(at('link'), 'utf8')).toBe('x')
  })

  test('take the place of no device, pipe or link to what this process has open', () => {
    expect(Bun.spawnSync(['mkfifo', at('pipe')]).exitCode).toBe(0)
    symlinkSync(at('pipe'), at('to-pipe'))
    symlinkSync('/proc/self/fd/1', at('stdout'))
    symlinkSync('/dev/null', at('null'))
    for (const name of ['pipe', 'to-pipe', 'stdout', 'null']) {
      const error = refusal(() => files.writeFileAtomic(at(name), 'x'))
      expect([error.code, error.message]).toEqual(['BAD_INPUT', `${at(name)}: not a regular file`])
    }
    symlinkSync(at('nowhere'), at('dangling'))
    files.writeFileAtomic(at('dangling'), 'x')
    expect(readdirSync(dir).sort()).toEqual(['dangling', 'null', 'pipe', 'stdout', 'to-pipe'])
  })

  test('an exclusive one keeps what is there', () => {
    files.createExclusive(at('a'), 'first')
    const error = refusal(() => files.createExclusive(at('a'), 'second'))
    expect(error.code).toBe('CONFLICT')
    expect(error.message).toBe(`${at('a')}: exists already`)
    expect(readFileSync(at('a'), 'utf8')).toBe('first')
    expect(readdirSync(dir)).toEqual(['a'])
  })

  test('an aborted stream leaves nothing, a committed one everything', () => {
    const dropped = files.openOutput(at('dropped'))
    dropped.write('half')
    expect(existsSync(at('dropped'))).toBe(false)
    dropped.abort()
    const kept = files.openOutput(at('kept'))
    kept.write('one')
    kept.write(new Uint8Array([50]))
    kept.commit()
    kept.abort()
    expect(readdirSync(dir)).toEqual(['kept'])
    expect(readFileSync(at('kept'), 'utf8')).toBe('one2')
  })

  test('a missing folder and a folder in the place of the file are named', () => {
    const missing = refusal(() => files.writeFileAtomic(at('no/where'), 'x'))
    expect([missing.code, missing.message]).toEqual([
      'NOT_FOUND',
      `${at('no/where')}: no such file or folder`,
    ])
    mkdirSync(at('folder'))
    expect(refusal(() => files.writeFileAtomic(at('folder'), 'x')).code).toBe('BAD_INPUT')
    expect(readdirSync(dir)).toEqual(['folder'])
  })

  test('a full device is DISK_FULL', () => {
    const fd = openSync('/dev/full', 'w')
    try {
      const error = refusal(() => {
        try {
          writeSync(fd, 'x')
        } catch (thrown) {
          throw files.fileError(thrown, '/dev/full')
        }
      })
      expect([error.code, error.message]).toEqual(['DISK_FULL', '/dev/full: no space left on the disk'])
    } finally {
      closeSync(fd)
    }
  })

  test('a write that hits a limit in the middle leaves no file, and the old one whole', async () => {
    writeFileSync(at('out'), 'old')
    const run = child(
      `try { f.writeFileAtomic(dir + '/out', new Uint8Array(1 << 24)) } catch (e) { console.log(e.code) }`,
      command => ['bash', '-c', 'trap "" XFSZ; ulimit -f 4096; exec "$@"', 'bash', ...command],
    )
    expect(await new Response(run.stdout).text()).toBe('DISK_FULL\n')
    expect(readdirSync(dir).sort()).toEqual(['child.ts', 'out'])
    expect(readFileSync(at('out'), 'utf8')).toBe('old')
  })

  test('Ctrl-C removes an output in the making and the lock, and exits with 130', async () => {
    const run = child(`
      await cli.runMain(cli.command('child', 'a test').action(async () => {
        f.lockDir(dir)
        f.openOutput(dir + '/out').write('half')
        console.log('ready')
        await Bun.sleep(20_000)
      }), ['bun', 'child'])`)
    const reader = run.stdout.getReader()
    await reader.read()
    expect(readdirSync(dir)).toHaveLength(3)
    run.kill('SIGINT')
    expect(await run.exited).toBe(130)
    expect(readdirSync(dir)).toEqual(['child.ts'])
  })
})

describe('private folders', () => {
  test('are made with mode 0700, parents too, and accepted again', () => {
    files.makePrivateDir(at('a/b'))
    files.makePrivateDir(at('a/b'))
    expect(mode(at('a/b'))).toBe(0o700)
  })

  test('are refused when open to others, a link, or a file', () => {
    mkdirSync(at('open'))
    chmodSync(at('open'), 0o750)
    mkdirSync(at('real'), { mode: 0o700 })
    symlinkSync(at('real'), at('link'))
    writeFileSync(at('file'), '')
    const loose = refusal(() => files.makePrivateDir(at('open')))
    expect([loose.code, loose.hint]).toEqual(['PERMISSION', `close it: chmod 700 ${at('open')}`])
    expect(refusal(() => files.makePrivateDir(at('link'))).code).toBe('PERMISSION')
    expect(refusal(() => files.makePrivateDir(at('file'))).code).toBe('BAD_INPUT')
  })
})

describe('private files', () => {
  const secret = (name: string, bits: number) => {
    writeFileSync(at(name), 'secret')
    chmodSync(at(name), bits)
    return at(name)
  }

  test('are read when they are only ours', () => {
    expect(files.readPrivateFile(secret('ok', 0o600), 'key').toString()).toBe('secret')
    expect(files.readPrivateFile(secret('ro', 0o400), 'key').toString()).toBe('secret')
  })

  test.each([0o640, 0o604, 0o620, 0o601])('are refused with mode %o', bits => {
    const error = refusal(() => files.readPrivateFile(secret('loose', bits), 'key'))
    expect(error.code).toBe('PERMISSION')
    expect(error.message).toBe(`key ${at('loose')}: mode 0${bits.toString(8)} lets others in`)
    expect(error.hint).toBe(`close it: chmod 600 ${at('loose')}`)
  })

  test('are refused behind a link, as a folder, as a FIFO, when absent, when too large', () => {
    symlinkSync(secret('ok', 0o600), at('link'))
    mkdirSync(at('folder'), { mode: 0o700 })
    Bun.spawnSync(['mkfifo', '-m', '600', at('fifo')])
    writeFileSync(at('large'), new Uint8Array((1 << 20) + 1), { mode: 0o600 })
    const code = (name: string) => refusal(() => files.readPrivateFile(at(name), 'key')).code
    expect(code('link')).toBe('PERMISSION')
    expect(code('folder')).toBe('BAD_INPUT')
    expect(code('fifo')).toBe('BAD_INPUT')
    expect(code('absent')).toBe('NOT_FOUND')
    expect(code('large')).toBe('BAD_INPUT')
  })

  // Only root can give a file away, and only another user sees root's rule: each runs the half that it can.
  test('of another user are refused, of root and of the caller of sudo accepted', () => {
    if (process.geteuid?.() !== 0) {
      expect(files.readPrivateFile(secret('mine', 0o600), 'key').toString()).toBe('secret')
      expect(refusal(() => files.readPrivateFile('/proc/1/environ', 'key')).code).toBe('PERMISSION')
      return
    }
    const path = secret('theirs', 0o600)
    chownSync(path, 12345, 12345)
    const before = process.env.SUDO_UID
    try {
      delete process.env.SUDO_UID
      const error = refusal(() => files.readPrivateFile(path, 'key'))
      expect([error.code, error.message]).toEqual([
        'PERMISSION',
        `key ${path}: belongs to another user (uid 12345)`,
      ])
      process.env.SUDO_UID = '12346'
      expect(refusal(() => files.readPrivateFile(path, 'key')).code).toBe('PERMISSION')
      process.env.SUDO_UID = '12345'
      expect(files.readPrivateFile(path, 'key').toString()).toBe('secret')
    } finally {
      if (before === undefined) delete process.env.SUDO_UID
      else process.env.SUDO_UID = before
    }
  })
})

test('a regular file is read up to its limit and no further', () => {
  writeFileSync(at('a'), '12345')
  expect(files.readRegularFile(at('a'), 'archive', 5).toString()).toBe('12345')
  const error = refusal(() => files.readRegularFile(at('a'), 'archive', 4))
  expect([error.code, error.message]).toEqual(['BAD_INPUT', `archive ${at('a')}: larger than 4 bytes`])
  expect(refusal(() => files.readRegularFile('/dev/zero', 'archive', 4)).code).toBe('BAD_INPUT')
})

describe('the lock of a folder', () => {
  test('is held once, names its holder, and is free after release', () => {
    const release = files.lockDir(dir)
    const error = refusal(() => files.lockDir(dir))
    expect([error.code, error.message]).toEqual(['LOCKED', `${dir}: in use by process ${process.pid}`])
    release()
    release()
    expect(readdirSync(dir)).toEqual([])
    files.lockDir(dir)()
  })

  test('is free again after its holder was killed', async () => {
    const run = child(`f.lockDir(dir); console.log('held'); await Bun.sleep(20_000)`)
    await run.stdout.getReader().read()
    expect(refusal(() => files.lockDir(dir)).message).toBe(`${dir}: in use by process ${run.pid}`)
    run.kill('SIGKILL')
    await run.exited
    expect(existsSync(at('.lock'))).toBe(true)
    files.lockDir(dir)()
    expect(existsSync(at('.lock'))).toBe(false)
  })

  test('is no link that somebody planted', () => {
    writeFileSync(at('victim'), 'untouched')
    symlinkSync(at('victim'), at('.lock'))
    expect(refusal(() => files.lockDir(dir)).code).toBe('PERMISSION')
    expect(readFileSync(at('victim'), 'utf8')).toBe('untouched')
  })
})
