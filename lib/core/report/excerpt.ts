/** JSON for people: what fits on a line stands on one, and a text of lines on lines of its own. */
import type { Json } from '../controls/control.ts'

const lineChars = 100
/** Deeper than any probe's answer; whoever nests deeper wants to be waited for. */
const deepest = 16

export function pretty(value: Json, indent = ''): string {
  const flat = JSON.stringify(value)
  if (typeof value === 'string' && flat.length > lineChars && value.includes('\n'))
    return block(value, indent)
  if (typeof value !== 'object' || value === null || indent.length > 2 * deepest) return flat
  if (flat.length + indent.length <= lineChars) return spaced(flat, value)
  const inner = `${indent}  `
  const members = Array.isArray(value)
    ? value.map(member => `${inner}${pretty(member, inner)}`)
    : Object.entries(value).map(
        ([name, member]) => `${inner}${JSON.stringify(name)}: ${pretty(member, inner)}`,
      )
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}']
  return `${open}\n${members.join(',\n')}\n${indent}${close}`
}

/** A text of several lines, each marked so that none can pass for a line of the report. */
const block = (text: string, indent: string): string =>
  `the text\n${text
    .replace(/\n$/, '')
    .split('\n')
    .map(line => `${indent}| ${line}`)
    .join('\n')}`

/** Blanks behind commas and colons, none inside texts. */
function spaced(flat: string, value: Json): string {
  if (typeof value !== 'object' || value === null) return flat
  if (Array.isArray(value))
    return `[${value.map(member => spaced(JSON.stringify(member), member)).join(', ')}]`
  const members = Object.entries(value).map(
    ([name, member]) => `${JSON.stringify(name)}: ${spaced(JSON.stringify(member), member)}`,
  )
  return members.length === 0 ? '{}' : `{ ${members.join(', ')} }`
}
