/** Markup that is escaped by being made: whatever is put into a template is text unless it was made by a template. */
import { line } from './words.ts'

export class Markup {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export type Value = string | number | Markup | null | readonly Value[]

const entities: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text for an element or a quoted attribute; control and direction characters are shown, not obeyed. */
export const escapeHtml = (text: string): string =>
  line(text.toWellFormed()).replace(/[&<>"']/g, mark => entities[mark] ?? '')

function textOf(value: Value): string {
  if (value === null) return ''
  if (value instanceof Markup) return value.text
  if (typeof value === 'string') return escapeHtml(value)
  return typeof value === 'number' ? String(value) : value.map(textOf).join('')
}

export function html(parts: TemplateStringsArray, ...values: Value[]): Markup {
  return new Markup(parts.map((part, i) => `${part}${textOf(values[i] ?? null)}`).join(''))
}

/** Several lines of text, for `pre`. */
export const lines = (text: string): Markup => new Markup(text.split('\n').map(escapeHtml).join('\n'))
