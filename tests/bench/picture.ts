/** The curve of growth as an SVG: time of verification against events, both axes in powers of ten. */
import type { Outcome } from './harness.ts'

const [width, height, margin] = [640, 400, 60]

/** @param outcome B7: sides named by their number of events, medians in µs an event */
export function growthPicture(outcome: Outcome): string {
  const points = outcome.sides.map(({ name, median }) => ({
    events: Number(name),
    seconds: (median * Number(name)) / 1e6,
  }))
  const log = Math.log10
  const span = (values: number[]) => [
    Math.floor(log(Math.min(...values))),
    Math.ceil(log(Math.max(...values))),
  ]
  const [x0 = 0, x1 = 1] = span(points.map(p => p.events))
  const [y0 = 0, y1 = 1] = span(points.map(p => p.seconds))
  const x = (events: number) => margin + ((log(events) - x0) / Math.max(1, x1 - x0)) * (width - 2 * margin)
  const y = (seconds: number) =>
    height - margin - ((log(seconds) - y0) / Math.max(1, y1 - y0)) * (height - 2 * margin)
  const ticks = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i))
  const at = (n: number) => n.toFixed(1)
  const last = points.at(-1)
  const straight = points.map(p => ({
    events: p.events,
    seconds: ((last?.seconds ?? 1) * p.events) / (last?.events ?? 1),
  }))
  const line = (of: typeof points) =>
    of.map(p => `${at(x(p.events))},${at(y(Math.max(p.seconds, 10 ** y0)))}`).join(' ')
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>Verification: seconds against events</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...ticks(x0, x1).map(
      v =>
        `<path d="M${at(x(v))} ${margin}V${height - margin}" stroke="#ddd"/><text x="${at(x(v))}" y="${height - margin + 18}" text-anchor="middle">${v.toLocaleString('en')}</text>`,
    ),
    ...ticks(y0, y1).map(
      v =>
        `<path d="M${margin} ${at(y(v))}H${width - margin}" stroke="#ddd"/><text x="${margin - 8}" y="${at(y(v) + 4)}" text-anchor="end">${v} s</text>`,
    ),
    `<polyline points="${line(straight)}" fill="none" stroke="#999" stroke-dasharray="4 4"/>`,
    `<polyline points="${line(points)}" fill="none" stroke="#06c" stroke-width="2"/>`,
    ...points.map(p => `<circle cx="${at(x(p.events))}" cy="${at(y(p.seconds))}" r="4" fill="#06c"/>`),
    `<text x="${width / 2}" y="${height - 14}" text-anchor="middle">events; dashed: in proportion to the largest</text>`,
    '</svg>',
    '',
  ].join('\n')
}
