import { describe, expect, test } from 'bun:test'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { exitCodes } from '../../lib/core/errors.ts'
import { controlsMarkdown } from '../../lib/report.ts'
import { withControls } from '../../scripts/readme.ts'
import { answersOf, differs, scriptOf, sessionsOf, settle } from '../support/readme.ts'

const root = resolve(import.meta.dir, '../..')
const pages = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', 'docs/threat-model.md']
const page = (name: string) => readFileSync(join(root, name), 'utf8')

describe('the README', () => {
  test('shows the controls as they are', () => {
    expect(page('README.md')).toBe(withControls(page('README.md'), controlsMarkdown()))
  })

  test('shows every exit code that an error can end with', () => {
    for (const code of new Set(Object.values(exitCodes))) expect(page('README.md')).toContain(`\n| ${code} |`)
  })

  test('names the Bun that package.json pins', () => {
    const { engines } = JSON.parse(page('package.json')) as { engines: { bun: string } }
    const named = [...page('README.md').matchAll(/\bbun@(\d+\.\d+\.\d+)|\bBun (\d+\.\d+\.\d+)/g)]
    expect(new Set(named.map(([, a, b]) => a ?? b))).toEqual(new Set([engines.bun]))
  })
})

/** GitHub's anchors of a page's headings. */
const anchorsOf = (markdown: string): string[] =>
  [...markdown.replace(/```[\s\S]*?```/g, '').matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

test.each(pages)('%s links to what is there', name => {
  const links = [...page(name).matchAll(/\]\(([^)]+)\)/g)].map(([, target = '']) => target)
  const broken = links.filter(target => {
    if (/^https:|^\.\.\/\.\.\/actions\//.test(target)) return false // of the web; of the repository's page on GitHub
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? join(root, name) : resolve(root, name, '..', path)
    if (!existsSync(file)) return true
    return anchor !== undefined && !anchorsOf(readFileSync(file, 'utf8')).includes(anchor)
  })
  expect(broken).toEqual([])
})

test.each(pages)('%s names files that are there', name => {
  const named = [...page(name).matchAll(/`((?:tests|docs|lib|sql|scripts|outside|vm)\/[a-z0-9_/.-]*)`/g)]
  expect(named.map(([, path = '']) => path).filter(path => !existsSync(join(root, path)))).toEqual([])
})

describe('the matrix', () => {
  const empty = withControls(page('README.md'), '| none |')

  test('is replaced, whatever stood there', () => {
    expect(empty).not.toContain('| network.tls-1.3 |')
    expect(withControls(empty, controlsMarkdown())).toBe(page('README.md'))
  })

  test('is refused where a marker is missing', () => {
    expect(() => withControls(empty.replace('<!-- end of controls -->', ''), '')).toThrow(
      'one pair of markers',
    )
  })
})

describe('a session', () => {
  const steps = sessionsOf(
    "text\n```console\n$ false\n$ echo $?\n1\n$ printf 'a\\n%s' \\\n>   b\na\n…\n```\n$ not this\n",
  )

  test('is read as it would be typed', () => {
    expect(steps).toEqual([
      { command: 'false', output: [], line: 3 },
      { command: 'echo $?', output: ['1'], line: 4 },
      { command: "printf 'a\\n%s' \\\n  b", output: ['a', '…'], line: 6 },
    ])
  })

  test('is run in one shell, with each exit code and output kept apart', () => {
    const { stdout } = Bun.spawnSync(['bash', '-c', scriptOf(steps, 'mark')])
    expect(answersOf(stdout.toString(), 'mark')).toEqual([
      { code: 1, lines: [] },
      { code: 0, lines: ['1'] },
      { code: 0, lines: ['a', 'b'] },
    ])
  })

  test('differs by any other, further or missing line', () => {
    expect(differs(['a', 'b'], ['a', 'b'])).toBeUndefined()
    expect(differs(['a', 'b'], ['a', 'c'])).toBe('b')
    expect(differs(['a', 'b'], ['a'])).toBe('b')
    expect(differs(['a'], ['a', 'b'])).toContain('b')
    expect(differs([], ['b'])).toContain('b')
  })

  test('may leave out lines and parts of lines where it says so', () => {
    expect(differs(['…', 'c'], ['a', 'b', 'c'])).toBeUndefined()
    expect(differs(['…', 'd'], ['a', 'b', 'c'])).toBe('d')
    expect(differs(['a', '…'], ['a'])).toBeUndefined()
    expect(differs(['a … c'], ['a b c'])).toBeUndefined()
    expect(differs(['a … c'], ['a b d'])).toBe('a … c')
  })

  test('may differ in what no two runs share, and in nothing else', () => {
    const line = (uuid: string, time: string) => `${uuid} at ${time}: 12 events`
    expect(settle(line('00014ecb-d5e3-48bb-8f6c-df295259ffd0', '2026-11-24T11:37:05.960Z'))).toBe(
      settle(line('a1c088d3-7d0b-4ed4-9ff2-572863d34570', '2027-01-02T00:00:00.000001Z')),
    )
    expect(settle('12 events')).not.toBe(settle('13 events'))
    expect(settle('exit 1')).not.toBe(settle('exit 2'))
    expect(settle('1142')).not.toBe(settle('1143'))
  })
})
