/** Every form in which a report is printed. */
import { formatHtml } from './html.ts'
import { formatJunit } from './junit.ts'
import { formatMarkdown } from './markdown.ts'
import { formatOscal } from './oscal.ts'
import type { Report } from './schema.ts'
import { formatText, type Paint } from './text.ts'

export const formats = ['text', 'json', 'html', 'oscal', 'junit', 'md'] as const
export type Format = (typeof formats)[number]

/** In JSON such characters stand inside texts only, and may be spelt by number: so a file can be shown on a terminal. */
const byNumber = (json: string): string =>
  json.replace(/[\u007f-\u009f\u2028\u2029]|\p{Cf}/gu, found =>
    found
      .split('')
      .map(unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  )

/** With its last line end. @param paint for a terminal; only the text knows colours */
export function formatReport(report: Report, format: Format, paint?: Paint): string {
  switch (format) {
    case 'text':
      return `${formatText(report, paint)}\n`
    case 'json':
      return `${byNumber(JSON.stringify(report))}\n`
    case 'html':
      return formatHtml(report)
    case 'oscal':
      return formatOscal(report)
    case 'junit':
      return formatJunit(report)
    case 'md':
      return formatMarkdown(report)
  }
}
