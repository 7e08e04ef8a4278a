/** The README's shell sessions: ```console blocks with `$ ` prompts, `> ` continuations and the output in between. */

export interface Step {
  /** What is typed, continuation lines included. */
  command: string
  /** Lines of output; `…` alone stands for any lines, inside a line for any text. */
  output: string[]
  /** Of the README, from 1. */
  line: number
}

/** @throws where a block has output before its first command, or does not end */
export function sessionsOf(markdown: string): Step[] {
  const steps: Step[] = []
  let inside = false
  let step: Step | undefined
  for (const [index, text] of markdown.split('\n').entries()) {
    if (!inside) {
      inside = text === '```console'
      step = undefined
    } else if (text === '```') inside = false
    else if (text.startsWith('$ ')) {
      step = { command: text.slice(2), output: [], line: index + 1 }
      steps.push(step)
    } else if (!step) throw new Error(`line ${index + 1}: output before the first command`)
    else if (text.startsWith('> ') && step.output.length === 0) step.command += `\n${text.slice(2)}`
    else step.output.push(text)
  }
  if (inside) throw new Error('the last console block does not end')
  return steps
}

/** What no two runs share. Longer forms first: a digest is hex too. */
const varying: [RegExp, string][] = [
  [/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, 'UUID'],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, 'TIME'],
  [/\b\d{4}-\d\d-\d\d\b/g, 'DATE'],
  [/\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b/gi, 'HEX'],
  [/\b\d+(\.\d+)? (ms|s)\b/g, 'N $2'],
  [/\b(process|port) \d+\b/g, '$1 N'],
  [/:\d{4,5}\b/g, ':PORT'],
]

export const settle = (line: string): string =>
  varying.reduce((text, [pattern, name]) => text.replace(pattern, name), line.trimEnd())

const literally = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

const lineMatches = (wanted: string, line: string): boolean =>
  new RegExp(`^${settle(wanted).split('…').map(literally).join('.*')}$`).test(settle(line))

/** Undefined if the output is as the README shows it, else the first line of the README that was not there. */
export function differs(wanted: string[], got: string[]): string | undefined {
  let at = 0
  let skipping = false
  for (const line of wanted) {
    if (line === '…') {
      skipping = true
      continue
    }
    while (skipping && at < got.length && !lineMatches(line, got[at] ?? '')) at++
    if (at >= got.length || !lineMatches(line, got[at] ?? '')) return line
    at++
    skipping = false
  }
  return skipping || at === got.length ? undefined : `(nothing more, but there was: ${got[at]})`
}

/** One script of all steps; after each, a line with its number and exit code, which `$?` still holds for the next one. */
export function scriptOf(steps: Step[], mark: string): string {
  const body = steps.map(
    ({ command }, index) =>
      `${command}\n__code=$?; printf '%s %d %d\\n' '${mark}' ${index} $__code; (exit $__code)`,
  )
  return `exec 2>&1\n${body.join('\n')}\n`
}

export interface Answer {
  code: number
  lines: string[]
}

/** What each step said, from the script's whole output. */
export function answersOf(output: string, mark: string): Answer[] {
  const answers: Answer[] = []
  let lines: string[] = []
  for (const line of output.split('\n')) {
    const at = line.indexOf(`${mark} `)
    if (at < 0) {
      lines.push(line)
      continue
    }
    if (at > 0) lines.push(line.slice(0, at)) // output without a newline at its end
    answers.push({ code: Number(line.slice(at).split(' ')[2]), lines })
    lines = []
  }
  return answers
}
