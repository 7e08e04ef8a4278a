/** Measures sides in turn, several rounds over, so that what the machine does meanwhile falls on all of them alike. */
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'

export interface Side {
  name: string
  /** One measurement: a rate (higher is better) or a duration, in the unit of the benchmark. */
  measure: () => Promise<number>
}

export interface Measured {
  name: string
  median: number
  /** Half the distance between the quartiles, as a share of the median. */
  spread: number
  samples: number[]
}

export interface Ratio {
  what: string
  /** Median of the ratios round by round: both sides of a round saw the same machine. */
  value: number
  lowest: number
  highest: number
  /** What was asked for: `>= 0.8`, or nothing for a figure that is reported alone. */
  wanted: string | null
  reached: boolean | null
}

export interface Outcome {
  id: string
  title: string
  quick: boolean
  unit: string
  rounds: number
  sides: Measured[]
  ratios: Ratio[]
  notes: string[]
}

export interface Bench {
  id: string
  title: string
  run: (quick: boolean, say: (line: string) => void) => Promise<Outcome[]>
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b)

export function quantile(values: readonly number[], q: number): number {
  const all = sorted(values)
  const at = (all.length - 1) * q
  const [low, high] = [all[Math.floor(at)] ?? 0, all[Math.ceil(at)] ?? 0]
  return low + (high - low) * (at - Math.floor(at))
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

function measured(name: string, samples: number[]): Measured {
  const m = median(samples)
  return {
    name,
    median: m,
    spread: m === 0 ? 0 : (quantile(samples, 0.75) - quantile(samples, 0.25)) / 2 / m,
    samples,
  }
}

export function meets(value: number, wanted: string | null): boolean | null {
  const [, sign, limit] = /^(>=|<=) ([0-9.]+)$/.exec(wanted ?? '') ?? []
  if (limit === undefined) return null
  return sign === '>=' ? value >= Number(limit) : value <= Number(limit)
}

export function ratio(
  what: string,
  of: readonly number[],
  to: readonly number[],
  wanted: string | null,
): Ratio {
  const each = of.map((value, i) => value / (to[i] ?? Number.NaN))
  const value = median(each)
  return {
    what,
    value,
    lowest: Math.min(...each),
    highest: Math.max(...each),
    wanted,
    reached: meets(value, wanted),
  }
}

export interface Plan {
  id: string
  title: string
  quick: boolean
  unit: string
  rounds?: number
  sides: Side[]
  /** [of, to, wanted] by the names of sides. */
  ratios: [string, string, string | null][]
  notes?: string[]
}

/** @returns the outcome; the order of the sides turns with each round */
export async function compare(plan: Plan, say: (line: string) => void): Promise<Outcome> {
  const { id, title, quick, unit, rounds = 5, sides } = plan
  const samples = new Map(sides.map(({ name }) => [name, [] as number[]]))
  for (let round = 0; round < rounds; round++)
    for (let i = 0; i < sides.length; i++) {
      const side = sides[(i + round) % sides.length] as Side
      const value = await side.measure()
      samples.get(side.name)?.push(value)
      say(`${id} round ${round + 1}/${rounds} ${side.name}: ${value.toFixed(3)} ${unit}`)
    }
  const of = (name: string): number[] => samples.get(name) ?? []
  return {
    id,
    title,
    quick,
    unit,
    rounds,
    sides: sides.map(({ name }) => measured(name, of(name))),
    ratios: plan.ratios.map(([a, b, wanted]) => ratio(`${a} / ${b}`, of(a), of(b), wanted)),
    notes: plan.notes ?? [],
  }
}

export interface Machine {
  cpu: string
  cores: number
  memoryGiB: number
  kernel: string
  bun: string
  /** One-minute load when the run began: above the number of cores it was shared with others. */
  load: number
  date: string
}

export const machine = (): Machine => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  bun: Bun.version,
  load: Math.round((loadavg()[0] ?? 0) * 10) / 10,
  date: new Date().toISOString().slice(0, 10),
})
