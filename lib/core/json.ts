/** JSON with one spelling: what parses re-prints to the same bytes (SPEC §1.1). */
import type { z } from 'zod'
import { type Bytes, fromUtf8 } from './bytes.ts'
import { ZtError } from './errors.ts'

/**
 * A value from its canonical JSON, whose members stand in the schema's order. Refuses other spellings, unknown,
 * missing and duplicate members, and anything longer than `maxBytes`: the length comes from whoever wrote the file.
 * @throws BAD_FORMAT, NEWER_FORMAT
 */
export function parseCanonical<S extends z.ZodType>(
  source: Bytes | string,
  schema: S,
  what: string,
  { maxBytes = 1 << 24, newline = false }: { maxBytes?: number; newline?: boolean } = {},
): z.output<S> {
  if (source.length > maxBytes) throw new ZtError('BAD_FORMAT', `${what}: longer than ${maxBytes} bytes`)
  const text = typeof source === 'string' ? source : fromUtf8(source, what)
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    // the parser's own words quote what it read, which may be a secret that somebody named by mistake
    throw new ZtError('BAD_FORMAT', `${what}: not JSON`)
  }
  const version = (raw as { v?: unknown } | null)?.v
  if (typeof version === 'number' && version > 1)
    throw new ZtError('NEWER_FORMAT', `${what}: format version ${version}, this program knows 1`, {
      hint: 'use a newer release of this program',
    })
  const parsed = within(what, () => schema.safeParse(raw))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const where = issue?.path.length ? ` at ${issue.path.join('.')}` : ''
    throw new ZtError('BAD_FORMAT', `${what}: ${issue?.message ?? 'does not match its schema'}${where}`)
  }
  if (within(what, () => formatCanonical(parsed.data, newline)) !== text)
    throw new ZtError('BAD_FORMAT', `${what}: not in canonical form (order or spelling of members)`)
  return parsed.data
}

/** Nesting beyond the depth of the stack is the writer's doing, not a fault of this program. */
function within<T>(what: string, act: () => T): T {
  try {
    return act()
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new ZtError('BAD_FORMAT', `${what}: nested too deeply`, { cause })
  }
}

/** The canonical text of a value whose members stand in the schema's order. */
export function formatCanonical(value: unknown, newline = false): string {
  return newline ? `${JSON.stringify(value)}\n` : JSON.stringify(value)
}
