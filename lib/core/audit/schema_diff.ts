/** What changed between two snapshots of a schema (SPEC §4.7), in words. */
import { z } from 'zod'
import { type Bytes, fromUtf8 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import type { SchemaObject } from './schema.ts'

const snapshot = z.array(z.tuple([z.string(), z.string(), z.string()])).max(100_000)

/** A snapshot from its file: `[[kind,name,definition],…]` (SPEC §7.2). @throws BAD_FORMAT */
export function parseSnapshot(bytes: Bytes, what: string): SchemaObject[] {
  let raw: unknown
  try {
    raw = JSON.parse(fromUtf8(bytes, what))
  } catch (thrown) {
    if (thrown instanceof ZtError) throw thrown
    throw new ZtError('BAD_FORMAT', `${what}: not JSON`)
  }
  const parsed = snapshot.safeParse(raw)
  if (!parsed.success) throw new ZtError('BAD_FORMAT', `${what}: not a snapshot of a schema`)
  return parsed.data.map(([kind, name, definition]) => ({ kind, name, definition }))
}

export const formatSnapshot = (objects: readonly SchemaObject[]): string =>
  `${JSON.stringify(objects.map(({ kind, name, definition }) => [kind, name, definition]))}\n`

export interface SchemaChange {
  change: 'added' | 'removed' | 'changed'
  kind: string
  name: string
  /** Lines of its definition that went and that came. */
  gone: string[]
  come: string[]
}

const mostLines = 2000

/** Lines of `a` that are not in `b`, in the sense of a longest common subsequence. */
function lineDiff(a: string[], b: string[]): { gone: string[]; come: string[] } {
  // whoever wrote the definition chose its length
  if (a.length > mostLines || b.length > mostLines) return { gone: a, come: b }
  const longest: Uint16Array[] = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1))
  const at = (i: number, j: number): number => longest[i]?.[j] ?? 0
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--) {
      const row = longest[i]
      if (row) row[j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
    }
  const gone: string[] = []
  const come: string[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length)
    if (i < a.length && j < b.length && a[i] === b[j]) [i, j] = [i + 1, j + 1]
    else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1))) gone.push(a[i++] ?? '')
    else come.push(b[j++] ?? '')
  return { gone, come }
}

const linesOf = (text: string): string[] => text.split('\n').map(line => line.trimEnd())

export function schemaDiff(before: readonly SchemaObject[], after: readonly SchemaObject[]): SchemaChange[] {
  const name = (o: SchemaObject) => JSON.stringify([o.kind, o.name])
  const [old, now] = [new Map(before.map(o => [name(o), o])), new Map(after.map(o => [name(o), o]))]
  const changes: SchemaChange[] = []
  for (const key of [...new Set([...old.keys(), ...now.keys()])].sort()) {
    const [a, b] = [old.get(key), now.get(key)]
    const { kind, name } = a ?? b ?? { kind: '', name: '' }
    if (a?.definition === b?.definition) continue
    const change = a ? (b ? 'changed' : 'removed') : 'added'
    const diff = lineDiff(a ? linesOf(a.definition) : [], b ? linesOf(b.definition) : [])
    changes.push({ change, kind, name, ...diff })
  }
  return changes
}

const kindNames: Record<string, string> = {
  account: 'the account of the routines’ owner',
  grant: 'the rights of the routines’ owner',
  'server.account': 'account',
  'server.grant': 'the rights of',
  'server.event': 'scheduled event outside the database',
  'server.schema': 'another database',
  'server.plugin': 'plugin',
  'server.component': 'component',
  'server.function': 'loaded function (UDF)',
  'server.variable': 'setting',
  'server.limit': 'limits of the gate:',
  'server.policy': 'policy',
}

/** What a change of this kind of thing can do, in a few words. */
function sentence({ change, kind, name }: SchemaChange): string {
  const what = `${kindNames[kind] ?? kind} ${name}`
  return change === 'added'
    ? `${what} is new`
    : change === 'removed'
      ? `${what} is gone`
      : `${what} was changed`
}

export function formatSchemaDiff(changes: readonly SchemaChange[]): string {
  if (changes.length === 0) return 'nothing changed'
  return changes
    .flatMap(change => [
      sentence(change),
      ...change.gone.map(line => `  - ${line}`),
      ...change.come.map(line => `  + ${line}`),
    ])
    .join('\n')
}
