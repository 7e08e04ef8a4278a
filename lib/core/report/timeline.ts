/** Anchors over time: where the store heard nothing for too long, and few enough points to draw. */
import type { AnchorPoint } from '../proof/verify_bundle.ts'
import type { AnchorGap } from './schema.ts'

const mostPoints = 400
const mostGaps = 200

/** ms since 1970 at which the store received it, or the host says it was made where the store keeps no time. */
export const timeOf = ({ received, made }: AnchorPoint): number => Date.parse(received ?? made)

/** Times between two anchors that are longer than the limit, and numbers that are missing. */
export function gapsOf(points: readonly AnchorPoint[], limitSeconds: number): AnchorGap[] {
  const gaps: AnchorGap[] = []
  for (const [i, point] of points.entries()) {
    const last = points[i - 1]
    if (!last) continue
    const seconds = (timeOf(point) - timeOf(last)) / 1000
    const missing = point.number - last.number - 1
    if (seconds > limitSeconds || missing > 0)
      gaps.push({
        after: last.number,
        before: point.number,
        seconds,
        missing: Math.max(0, missing),
        firstEvent: last.size,
      })
  }
  // the longest say most
  return gaps
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, mostGaps)
    .sort((a, b) => a.after - b.after)
}

/** Evenly chosen, the first and the last among them. */
export function thinned(points: readonly AnchorPoint[], most = mostPoints): AnchorPoint[] {
  if (points.length <= most) return [...points]
  const step = (points.length - 1) / (most - 1)
  return Array.from({ length: most }, (_, i) => points[Math.round(i * step)]).filter(
    (point): point is AnchorPoint => point !== undefined,
  )
}
