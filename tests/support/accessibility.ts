/**
 * What a browser's accessibility checker would say of a page of ours, without a browser: structure, names and contrast.
 * It reads the markup that the report is written in, and refuses markup that a browser would have to mend.
 */

export interface Node {
  tag: string
  attributes: Map<string, string>
  children: Node[]
  /** Of this element alone. */
  text: string
  parent: Node | undefined
}

const empty = new Set(['meta', 'br', 'hr', 'img', 'input', 'link'])

/** @throws where elements are not closed in order */
export function parsePage(html: string): Node {
  const root: Node = { tag: '#page', attributes: new Map(), children: [], text: '', parent: undefined }
  let at = root
  for (const [, comment, close, open, attributes = '', text = ''] of html.matchAll(
    /(<!doctype[^>]*>)|<\/([a-z0-9]+)>|<([a-z0-9]+)((?:\s[^<>]*)?)\/?>|([^<]+)/gi,
  )) {
    if (comment !== undefined) continue
    if (close !== undefined) {
      if (at.tag !== close || !at.parent) throw new Error(`</${close}> closes <${at.tag}>`)
      at = at.parent
    } else if (open !== undefined) {
      const found = [...attributes.matchAll(/([a-zA-Z-]+)(?:="([^"]*)")?/g)]
      const node: Node = {
        tag: open.toLowerCase(),
        attributes: new Map(found.map(([, name = '', value = '']) => [name.toLowerCase(), value])),
        children: [],
        text: '',
        parent: at,
      }
      at.children.push(node)
      if (!empty.has(node.tag) && !attributes.endsWith('/')) at = node
    } else at.text += text
  }
  if (at !== root) throw new Error(`<${at.tag}> is not closed`)
  return root
}

const all = (node: Node): Node[] => [node, ...node.children.flatMap(all)]
const words = (node: Node): string => `${node.text} ${node.children.map(words).join(' ')}`.trim()
const has = (node: Node, name: string, value: string): boolean => node.attributes.get(name) === value
const within = (node: Node, wanted: (n: Node) => boolean): boolean =>
  node.parent !== undefined && (wanted(node.parent) || within(node.parent, wanted))
const named = (node: Node): boolean => (node.attributes.get('aria-label') ?? '').trim() !== ''
const focusable = ({ tag, attributes }: Node): boolean =>
  (tag === 'a' && attributes.has('href')) || tag === 'summary' || attributes.has('tabindex')

type Check = (nodes: Node[], ids: ReadonlySet<string>) => string[]

const only = (nodes: Node[], tag: string): string[] => {
  const n = nodes.filter(node => node.tag === tag).length
  return n === 1 ? [] : [`${n} ${tag} elements`]
}

const checks: Record<string, Check> = {
  language: nodes => (nodes.some(n => n.tag === 'html' && n.attributes.get('lang')) ? [] : ['no language']),
  title: nodes =>
    nodes.some(n => n.tag === 'title' && n.parent?.tag === 'head' && words(n) !== '') ? [] : ['no title'],
  landmarks: nodes => [
    ...['main', 'header', 'h1', 'nav'].flatMap(tag => only(nodes, tag)),
    ...nodes.filter(n => n.tag === 'nav' && !named(n)).map(() => 'a nav without a name'),
    ...nodes
      .filter(n => n.tag === 'section' && !n.attributes.has('aria-labelledby'))
      .map(() => 'a section without a name'),
  ],
  headings: nodes => {
    const levels = nodes.flatMap(n => (/^h[1-6]$/.test(n.tag) ? [Number(n.tag[1])] : []))
    const skipped = levels.filter((level, i) => level > (levels[i - 1] ?? 0) + 1)
    const blank = nodes.filter(n => /^h[1-6]$/.test(n.tag) && words(n) === '')
    return [
      ...skipped.map(level => `a heading of level ${level} skips one`),
      ...blank.map(n => `an empty ${n.tag}`),
    ]
  },
  ids: nodes => {
    const seen = nodes.flatMap(n => n.attributes.get('id') ?? [])
    return seen.filter((id, i) => seen.indexOf(id) !== i).map(id => `id ${id} twice`)
  },
  references: (nodes, ids) =>
    nodes.flatMap(n => [
      ...(n.tag === 'a' && !ids.has((n.attributes.get('href') ?? '').slice(1))
        ? [`link to ${n.attributes.get('href')}`]
        : []),
      ...(n.attributes.get('aria-labelledby') ?? '').split(' ').filter(id => id !== '' && !ids.has(id)),
    ]),
  links: nodes => nodes.filter(n => n.tag === 'a' && words(n) === '').map(() => 'a link without words'),
  tables: nodes =>
    nodes
      .filter(n => n.tag === 'table')
      .flatMap(table => {
        const inside = all(table)
        const rows = inside.filter(n => n.tag === 'tr')
        const widths = new Set(rows.map(row => row.children.length))
        return [
          ...(table.children[0]?.tag === 'caption' && words(table.children[0]) !== ''
            ? []
            : ['a table without caption']),
          ...(inside.some(n => n.tag === 'th') ? [] : ['a table without headers']),
          ...inside
            .filter(n => n.tag === 'th' && !['col', 'row'].includes(n.attributes.get('scope') ?? ''))
            .map(() => 'a th without scope'),
          ...(widths.size > 1 ? [`rows of ${[...widths].join(', ')} cells`] : []),
        ]
      }),
  lists: nodes =>
    nodes.flatMap(n => {
      const strange = (allowed: string[]) =>
        n.children.filter(child => !allowed.includes(child.tag)).map(c => `${c.tag} in ${n.tag}`)
      if (n.tag === 'ul') return strange(['li'])
      return n.tag === 'dl'
        ? [...strange(['dt', 'dd']), ...(n.children[0]?.tag === 'dt' ? [] : ['a dl without dt'])]
        : []
    }),
  details: nodes =>
    nodes
      .filter(n => n.tag === 'details')
      .flatMap(n => {
        const summaries = n.children.filter(child => child.tag === 'summary')
        const first = n.children[0]
        if (summaries.length !== 1 || first?.tag !== 'summary' || words(first) === '')
          return ['details without a summary first']
        return all(first).some(inner => inner !== first && focusable(inner))
          ? ['something to focus in a summary']
          : []
      }),
  pictures: nodes => [
    ...nodes
      .filter(n => n.tag === 'svg' && !(has(n, 'role', 'img') && named(n)))
      .map(() => 'a picture without a name'),
    ...nodes.filter(n => n.tag === 'img').map(() => 'an img'),
    ...nodes
      .filter(n => focusable(n) && within(n, up => up.tag === 'svg'))
      .map(() => 'something to focus in a picture'),
  ],
  regions: nodes => [
    ...nodes.filter(n => has(n, 'role', 'region') && !named(n)).map(() => 'a region without a name'),
    // what scrolls must be reached by keyboard
    ...nodes
      .filter(
        n =>
          (n.tag === 'pre' || (n.attributes.get('class') ?? '').split(' ').includes('scroll')) &&
          !has(n, 'tabindex', '0'),
      )
      .map(n => `${n.tag} scrolls and takes no focus`),
  ],
  focus: nodes => [
    ...nodes
      .filter(n => n.attributes.has('tabindex') && !has(n, 'tabindex', '0'))
      .map(() => 'an order of its own'),
    ...nodes
      .filter(
        n =>
          focusable(n) && (has(n, 'aria-hidden', 'true') || within(n, up => has(up, 'aria-hidden', 'true'))),
      )
      .map(() => 'something to focus that is hidden'),
    ...(nodes.find(focusable)?.attributes.get('class') === 'skip'
      ? []
      : ['no way to skip to the content first']),
  ],
  roles: nodes =>
    nodes.flatMap(n => {
      const role = n.attributes.get('role')
      return role !== undefined && !['img', 'region'].includes(role) ? [`role ${role}`] : []
    }),
}

/** name of the check → what it found. */
export function structureFaults(html: string): Record<string, string[]> {
  const nodes = all(parsePage(html))
  const ids = new Set(nodes.flatMap(n => n.attributes.get('id') ?? []))
  return Object.fromEntries(
    Object.entries(checks)
      .map(([name, check]) => [name, check(nodes, ids)] as const)
      .filter(([, found]) => found.length > 0),
  )
}

export const structureChecks = Object.keys(checks)

/** WCAG 2.2: relative luminance of #rgb or #rrggbb. */
function luminance(colour: string): number {
  const hex = colour.length === 4 ? colour.replace(/[0-9a-f]/gi, digit => digit + digit) : colour
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map(i => {
    const c = Number.parseInt(hex.slice(i, i + 2), 16) / 255
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

export function contrast(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (light + 0.05) / (dark + 0.05)
}

export type Theme = Map<string, string>

/** The colours of a style sheet by name, of its first theme and of those that replace them. */
export function themesOf(css: string): Theme[] {
  const blocks = [...css.matchAll(/:root\s*\{([^}]*)\}/g)].map(([, body = '']) => [
    ...body.matchAll(/--([a-z-]+):\s*(#[0-9a-f]{3,6})/gi),
  ])
  const [first = [], ...others] = blocks.map(found =>
    found.map(([, name = '', value = '']) => [name, value] as const),
  )
  return [first, ...others.map(other => [...first, ...other])].map(pairs => new Map(pairs))
}

const surfaces = ['page', 'card', 'well']
const verdicts = ['pass', 'fail', 'error', 'na', 'exception']

/** Text needs 4.5 : 1, parts of pictures and edges that mean something 3 : 1 (WCAG 1.4.3, 1.4.11). */
const pairs: [name: string, on: string, least: number][] = [
  ...['ink', 'soft', 'link'].flatMap(text => surfaces.map((on): [string, string, number] => [text, on, 4.5])),
  ...verdicts.map((verdict): [string, string, number] => [verdict, `${verdict}-fill`, 4.5]),
  ...['pass', 'fail'].map((tone): [string, string, number] => [tone, 'card', 4.5]),
  ...['fail', 'error', 'na', 'series', 'exception'].map((part): [string, string, number] => [
    part,
    'card',
    3,
  ]),
  ['series', 'series-fill', 3],
]

export function contrastFaults(css: string): string[] {
  const loose = css.replace(/:root\s*\{[^}]*\}/g, '').match(/#[0-9a-f]{3,8}\b/gi) ?? []
  const weak = themesOf(css).flatMap((theme, i) =>
    pairs.flatMap(([name, on, least]) => {
      const [one, other] = [theme.get(name), theme.get(on)]
      if (one === undefined || other === undefined)
        return [`theme ${i}: no colour ${one === undefined ? name : on}`]
      const ratio = contrast(one, other)
      return ratio >= least ? [] : [`theme ${i}: ${name} on ${on} is ${ratio.toFixed(2)} : 1`]
    }),
  )
  // a colour of its own is in no theme, and nobody has looked at what it stands on
  return [...weak, ...loose.map(colour => `${colour} is no colour of a theme`)]
}
