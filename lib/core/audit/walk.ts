import { type Bytes, fromUtf8 } from '../bytes.ts'
import type { ChainCheck } from './chain_check.ts'
import { type ChunkJob, type ChunkSummary, packable, packEvents } from './chunk.ts'
import type { Event } from './event.ts'
import type { Helpers } from './helpers.ts'
import type { TrailEvent, TrailSource } from './source.ts'

/** One event on its way past, and the bytes that it was read from. */
export interface Passed {
  event: Event
  payload: Bytes
  seq: number
}

export interface Walk {
  source: TrailSource
  chain: ChainCheck
  helpers?: Helpers
  /** Events before this number are passed over: they were verified before. */
  from: number
  /** Whether anybody looks at the events themselves. */
  wantsEvents: boolean
}

interface Run {
  job: ChunkJob | undefined
  events: () => TrailEvent[]
}

async function* runsOf({ source, from, helpers }: Walk): AsyncGenerator<Run> {
  if (helpers && source.lines) {
    for await (const run of source.lines(from))
      yield { job: { lines: run.bytes, what: run.what }, events: () => run.events() }
    return
  }
  for await (const batch of source.events(from)) {
    const events = batch.filter(event => event.seq >= from || !Number.isSafeInteger(event.seq))
    const job = helpers && packable(events) ? { packed: packEvents(events) } : undefined
    yield { job, events: () => events }
  }
}

/** The events of a run that was found to be in order need no second strict look. */
const trusted = (events: TrailEvent[]): Passed[] =>
  events.map(({ payload, seq }) => ({ event: JSON.parse(fromUtf8(payload, 'event')) as Event, payload, seq }))

function oneByOne(chain: ChainCheck, events: TrailEvent[]): Passed[] {
  return events.flatMap(stored => {
    const event = chain.add(stored)
    return event ? [{ event, payload: stored.payload, seq: stored.seq }] : []
  })
}

/**
 * Leads the chain over the whole source and gives the events to whoever wants them, in order. Helpers say of whole
 * runs that nothing is wrong in them; every seam is checked here, and a run of which they do not say so is looked at
 * event by event, here.
 */
export async function* walkChain(walk: Walk): AsyncGenerator<Passed[]> {
  const { chain, helpers, wantsEvents } = walk
  const most = 3 * (helpers?.count ?? 0)
  const waiting: { run: Run; summary: Promise<ChunkSummary | undefined> }[] = []
  const settle = async (): Promise<Passed[]> => {
    const next = waiting.shift()
    if (!next) return []
    const summary = await next.summary
    if (!summary || !chain.skip(summary)) return oneByOne(chain, next.run.events())
    return wantsEvents ? trusted(next.run.events()) : []
  }
  for await (const run of runsOf(walk)) {
    if (!helpers || !run.job) {
      while (waiting.length > 0) yield await settle()
      yield oneByOne(chain, run.events())
      continue
    }
    waiting.push({ run, summary: helpers.summarise(run.job) })
    if (waiting.length > most) yield await settle()
  }
  while (waiting.length > 0) yield await settle()
}
