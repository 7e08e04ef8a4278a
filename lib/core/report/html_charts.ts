/** Pictures of a report as inline SVG. Each says in words what it shows; the figures stand in a table beside it. */
import type { AnchorPoint } from '../proof/verify_bundle.ts'
import { html, type Markup } from './html_markup.ts'
import type { Report, ReportCertificate } from './schema.ts'
import { timeOf } from './timeline.ts'
import { duration, moment } from './words.ts'

const width = 720
const [left, right] = [60, 16]
const inner = width - left - right

const round = (n: number): string => n.toFixed(1).replace(/\.0$/, '')

/** 1, 2 or 5 times a power of ten, at least `n`. */
function nice(n: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, n)))
  return ([1, 2, 5, 10].find(factor => factor * power >= n) ?? 10) * power
}

/** Growth of the trail above, arrival of the anchors below, on one axis of time. */
export function trailChart({ anchors, bundle }: Report): Markup | null {
  const { points, gaps } = anchors
  const [first, last] = [points[0], points.at(-1)]
  if (!first || !last) return null
  const [from, until] = [timeOf(first), Math.max(timeOf(last), timeOf(first) + 1)]
  const x = (time: number): number => left + ((time - from) / (until - from)) * inner
  const most = nice(last.size)
  const [top, base, strip] = [34, 194, 236]
  const y = (size: number): number => base - (size / most) * (base - top)
  const at = (p: AnchorPoint): string => `${round(x(timeOf(p)))} ${round(y(p.size))}`
  // between two anchors the trail is known only to have grown: a step, not a slope
  const steps = points
    .map((p, i) => (i === 0 ? `M${at(p)}` : `H${round(x(timeOf(p)))}V${round(y(p.size))}`))
    .join('')
  const byNumber = new Map(points.map(p => [p.number, p]))
  const gapRects = gaps.flatMap(gap => {
    const [a, b] = [byNumber.get(gap.after), byNumber.get(gap.before)]
    if (!a || !b) return []
    const [start, end] = [x(timeOf(a)), x(timeOf(b))]
    return [
      html`<rect class="gap" x="${round(start)}" y="${strip - 14}" width="${round(Math.max(2, end - start))}" height="28"><title>gap of ${duration(gap.seconds)} after anchor ${gap.after}</title></rect>`,
      html`<text class="bad" x="${round(Math.min(width - 90, Math.max(left, (start + end) / 2)))}" y="${strip + 30}" text-anchor="middle">gap ${duration(gap.seconds)}</text>`,
    ]
  })
  const brackets = [
    ['opening', bundle.opened, 'end'],
    ['closing', bundle.closed, 'end'],
  ].flatMap(([name, time], i) => {
    if (name == null || time == null) return []
    const at = x(Date.parse(time))
    if (at < left - 1 || at > width - right + 1) return []
    return [
      html`<line class="bracket" x1="${round(at)}" x2="${round(at)}" y1="${top}" y2="${strip + 14}"/>`,
      html`<text class="quiet" x="${round(at - 5)}" y="${14 + i * 14}" text-anchor="${at > left + 120 ? 'end' : 'start'}">${name} anchor</text>`,
    ]
  })
  const said = `${anchors.count} anchors from ${moment(first.received ?? first.made)} to ${moment(last.received ?? last.made)}, the trail grew to ${last.size} events; ${gaps.length === 0 ? 'no gap' : `${gaps.length} gaps`}.`
  return html`<svg viewBox="0 0 ${width} 292" role="img" aria-label="${said}">
${[0, most / 2, most].map(
  size =>
    html`<line class="rule" x1="${left}" x2="${width - right}" y1="${round(y(size))}" y2="${round(y(size))}"/><text class="quiet" x="${left - 8}" y="${round(y(size) + 4)}" text-anchor="end">${size}</text>`,
)}
<text class="quiet" x="4" y="15">events</text>
<path class="area" d="${steps}V${base}H${round(x(from))}Z"/><path class="line" d="${steps}"/>
<text class="quiet" x="${left - 8}" y="${strip + 4}" text-anchor="end">anchors</text>
<line class="axis" x1="${left}" x2="${width - right}" y1="${strip}" y2="${strip}"/>
${points.map(p => html`<line class="tick" x1="${round(x(timeOf(p)))}" x2="${round(x(timeOf(p)))}" y1="${strip - 9}" y2="${strip + 9}"/>`)}
${gapRects}${brackets}
<text class="quiet" x="${left}" y="286">${moment(first.received ?? first.made)}</text>
<text class="quiet" x="${width - right}" y="286" text-anchor="end">${moment(last.received ?? last.made)}</text>
</svg>`
}

const marks: [days: number, label: string][] = [
  [1, '1 day'],
  [7, '1 week'],
  [30, '1 month'],
  [365, '1 year'],
  [3650, '10 years'],
]
const mostRows = 40
const longest = 3650

/** Time left of each certificate, on a scale that shows a day and ten years. */
export function certificateChart({ certificates }: Report): Markup | null {
  const shown = certificates.filter(({ state }) => state !== 'revoked').slice(0, mostRows)
  if (shown.length === 0) return null
  const [labels, row, top] = [232, 22, 30]
  const x = (days: number): number =>
    labels + (Math.log1p(Math.min(Math.max(days, 0), longest)) / Math.log1p(longest)) * (width - labels - 74)
  const height = top + shown.length * row + 8
  return html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Time left of ${shown.length} certificates and lists, soonest to expire first; the table below has the same in words.">
${marks.map(
  ([days, label]) =>
    html`<line class="rule" x1="${round(x(days))}" x2="${round(x(days))}" y1="${top - 8}" y2="${height - 4}"/><text class="quiet" x="${round(x(days))}" y="14" text-anchor="middle">${label}</text>`,
)}
${shown.map((c, i) => certificateBar(c, top + i * row, labels, x))}
</svg>`
}

const clipped = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most - 1)}…` : text

function certificateBar(
  c: ReportCertificate,
  y: number,
  labels: number,
  x: (days: number) => number,
): Markup {
  // probes live a day by design
  const soon = c.days < 14 && !c.role.startsWith('probe')
  const end = Math.max(labels + 3, x(Math.max(c.days, 0)))
  const left = c.state === 'in force' ? (c.days < 1 ? '< 1 day' : `${c.days} d`) : c.state
  return html`<text x="${labels - 10}" y="${y + 12}" text-anchor="end">${clipped(`${c.name} (${c.role})`, 32)}</text>
<rect class="${c.state === 'in force' ? (soon ? 'soon' : 'bar') : 'over'}" x="${labels}" y="${y + 2}" width="${round(end - labels)}" height="12" rx="2"/>
<text class="quiet" x="${round(end + 6)}" y="${y + 12}">${left}</text>`
}
