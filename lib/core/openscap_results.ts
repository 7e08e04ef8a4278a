/** What oscap's results say (XCCDF 1.2 §6.6), of this host or of a stranger's bundle. */
import { ZtError } from './errors.ts'
import { type Rule, type RuleResult, ruleResult, ruleResults } from './openscap.ts'

const entities: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }

const decode = (xml: string): string =>
  xml
    .replace(/<[^>]*>/g, '')
    .replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => entities[name] ?? '')
    .replace(/\s+/g, ' ')
    .trim()

const attribute = (tag: string, name: string): string | undefined =>
  new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1]

function titlesIn(xml: string): Map<string, string> {
  const titles = new Map<string, string>()
  for (const [, tag = '', title = ''] of xml.matchAll(
    /<(?:[\w.-]+:)?Rule(\s[^>]*)>[\s\S]*?<(?:[\w.-]+:)?title\b[^>]*>([\s\S]*?)<\/(?:[\w.-]+:)?title>/g,
  )) {
    const id = attribute(tag, 'id')
    if (id !== undefined) titles.set(id, decode(title))
  }
  return titles
}

/** An element's tag and what is in it; `next` is where the text goes on. */
interface Element {
  tag: string
  body: string
  whole: string
  next: number
}

/** Each character is looked at a few times at most, however the text is made: results may come in a stranger's bundle. */
function elementAt(xml: string, name: string, from: number): Element | undefined {
  const open = new RegExp(`<((?:[\\w.-]{1,40}:)?${name})(?=[\\s>])`, 'g')
  open.lastIndex = from
  const found = open.exec(xml)
  if (found === null) return undefined
  const [opening = '', full = ''] = found
  const close = `</${full}>`
  const tagEnd = xml.indexOf('>', found.index)
  const end = xml.indexOf(close, tagEnd)
  if (tagEnd < 0 || end < 0)
    throw new ZtError('BAD_FORMAT', `oscap's results: ${opening.slice(1)} has no end`)
  return {
    tag: xml.slice(found.index, tagEnd),
    body: xml.slice(tagEnd + 1, end),
    whole: xml.slice(found.index, end + close.length),
    next: end + close.length,
  }
}

function* elements(xml: string, name: string): Generator<Element> {
  for (let at = elementAt(xml, name, 0); at !== undefined; at = elementAt(xml, name, at.next)) yield at
}

/** What the scan found, as oscap wrote it, without the content that it was scanned by. @throws BAD_FORMAT */
export function testResultIn(xml: string): string {
  const found = elementAt(xml, 'TestResult', 0)
  if (found === undefined) throw new ZtError('BAD_FORMAT', "oscap's results have no TestResult")
  return `${found.whole}\n`
}

/**
 * The rules, by their ids alone, the score and the profile of a TestResult (XCCDF 1.2 §6.6).
 * @throws BAD_FORMAT where it has no rule, or one has no result
 */
export function parseTestResult(xml: string): {
  rules: Rule[]
  score: number | null
  profile: string | null
} {
  const rules = [...elements(xml, 'rule-result')].map(({ tag, body }) => {
    const id = attribute(tag, 'idref') ?? ''
    const said = ruleResult.safeParse(/<(?:[\w.-]{1,40}:)?result>([a-z]{1,20})</.exec(body)?.[1])
    if (id === '' || !said.success)
      throw new ZtError('BAD_FORMAT', `oscap's results have none for rule ${id}`)
    return { id, title: id, severity: attribute(tag, 'severity') ?? 'unknown', result: said.data }
  })
  if (rules.length === 0) throw new ZtError('BAD_FORMAT', "oscap's results have no rule")
  const score = /<(?:[\w.-]{1,40}:)?score\b[^>]{0,200}>([0-9.]{1,20})</.exec(xml)?.[1]
  const profile = /<(?:[\w.-]{1,40}:)?profile\s[^>]{0,50}idref="([^"]{1,300})"/.exec(xml)?.[1]
  return { rules, score: score === undefined ? null : Number(score), profile: profile ?? null }
}

/** The same of what oscap wrote on this host, an ARF, with the titles that its content gives to rules. */
export function parseResults(xml: string): { rules: Rule[]; score: number | null } {
  const { rules, score } = parseTestResult(testResultIn(xml))
  const titles = titlesIn(xml)
  return { rules: rules.map(rule => ({ ...rule, title: titles.get(rule.id) ?? rule.id })), score }
}

export function countResults(rules: Rule[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of ruleResults) {
    const n = rules.filter(each => each.result === name).length
    if (n > 0 && name !== 'notselected') counts[name] = n
  }
  return counts
}

/** A check that could not tell is no pass. */
const bad: ReadonlySet<RuleResult> = new Set(['fail', 'error', 'unknown'])

export const failedRules = (rules: Rule[]): Rule[] => rules.filter(each => bad.has(each.result))
