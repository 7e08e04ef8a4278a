/** B6 to B8: how fast a trail is verified, how that grows, and what a base saves. */
import { join } from 'node:path'
import { goldenFingerprints } from '../../sql/index.ts'
import { binary } from '../support/binary.ts'
import { type Bench, compare, median, type Outcome, ratio } from './harness.ts'
import { type TrailFile, trailFile } from './trail_file.ts'

interface Run {
  seconds: number
  /** Largest resident size, MiB. */
  memory: number
  stdout: string
}

async function run(command: string[]): Promise<Run> {
  const began = performance.now()
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'pipe', stdin: 'ignore' })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const seconds = (performance.now() - began) / 1000
  if (code !== 0)
    throw new Error(`${command.join(' ')} ended with ${code}: ${stderr}${stdout.slice(0, 2000)}`)
  return { seconds, memory: (child.resourceUsage()?.maxRSS ?? 0) / 2 ** 20, stdout }
}

/** A trail of another release's schema would not verify. */
const release = goldenFingerprints[0]?.slice(0, 8)

const made = (work: string, events: number): Promise<TrailFile> =>
  trailFile(join(work, `trail-${events}-${release}`), events, Math.max(1000, Math.min(50_000, events / 20)))

const verifier = async (trail: TrailFile, ...more: string[]): Promise<string[]> => [
  await binary('chain_verify'),
  'verify',
  ...['--trust', trail.trust, '--anchors', trail.anchors, '--file', trail.file],
  ...['--gap', '1000000000', '--only', 'chain', '--json', ...more],
]

export const verifyBenches = (work: string): Bench[] => [
  {
    id: 'B6',
    title: 'verify the chain, tree and anchors, all cores',
    run: async (quick, say) => {
      const trail = await made(work, quick ? 100_000 : 1_000_000)
      const rate = (command: string[]) => async () => trail.events / (await run(command)).seconds
      return [
        await compare(
          {
            id: 'B6',
            title: 'verify the chain, tree and anchors, all cores',
            quick,
            unit: 'events/s',
            sides: [
              {
                name: 'python',
                measure: rate(['python3', join(import.meta.dir, 'verify.py'), trail.file, trail.anchors]),
              },
              { name: 'noble', measure: rate(await verifier(trail)) },
              { name: 'native', measure: rate(await verifier(trail, '--engine', 'native')) },
            ],
            ratios: [
              ['noble', 'python', '>= 0.7'],
              ['native', 'python', '>= 2'],
            ],
            notes: [
              `${trail.events} events of ${trail.payload} bytes on average; start of the program included`,
              'ours also parses each event strictly and verifies the anchors’ two signatures; Python parses JSON, hashes chain and tree, and compares the anchors’ roots',
            ],
          },
          say,
        ),
      ]
    },
  },
  {
    id: 'B7',
    title: 'growth of verification',
    run: async (quick, say) => {
      const sizes = quick ? [10_000, 100_000] : [10_000, 100_000, 1_000_000]
      const trails = await Promise.all(sizes.map(size => made(work, size)))
      const memory = new Map<number, number[]>(sizes.map(size => [size, []]))
      const sides = await Promise.all(
        trails.map(async trail => {
          const command = await verifier(trail, '--engine', 'native')
          return {
            name: `${trail.events}`,
            measure: async () => {
              const done = await run(command)
              memory.get(trail.events)?.push(done.memory)
              return (done.seconds * 1e6) / trail.events
            },
          }
        }),
      )
      const last = String(sizes.at(-1))
      const outcome = await compare(
        {
          id: 'B7',
          title: 'growth of verification',
          quick,
          unit: 'µs an event',
          sides,
          ratios: sizes.slice(0, -1).map(size => [last, String(size), null]),
          notes: ['the start of the program weighs on the small sizes; 10M events were not run here'],
        },
        say,
      )
      const [small, large] = [memory.get(100_000) ?? [], memory.get(sizes.at(-1) ?? 0) ?? []]
      outcome.ratios.push(ratio(`memory at ${last} / at 100000`, large, small, '<= 1.2'))
      for (const size of sizes)
        outcome.notes.push(
          `largest resident size at ${size} events: ${Math.round(median(memory.get(size) ?? []))} MiB`,
        )
      return [outcome]
    },
  },
  {
    id: 'B8',
    title: 'verification from a trusted anchor: the last hundredth',
    run: async (quick, say) => {
      const events = quick ? 100_000 : 1_000_000
      const trail = await trailFile(join(work, `trail-${events}-fine-${release}`), events, events / 100)
      const base = join(trail.dir, 'base')
      await run(await verifier(trail, '--as-of', '99', '--save-base', base, '--engine', 'native'))
      const seconds = (command: string[]) => async () => (await run(command)).seconds
      const outcome: Outcome = await compare(
        {
          id: 'B8',
          title: 'verification from a trusted anchor: the last hundredth',
          quick,
          unit: 's',
          sides: [
            { name: 'full', measure: seconds(await verifier(trail)) },
            { name: 'since', measure: seconds(await verifier(trail, '--since', base)) },
            { name: 'start', measure: seconds([await binary('chain_verify'), '--version']) },
          ],
          ratios: [['since', 'full', '<= 0.05']],
          notes: [
            'the last hundredth of the trail; asked for is the last thousandth of 10M events in a hundredth of the time: a tenth of it and the start of the program remain',
          ],
        },
        say,
      )
      return [outcome]
    },
  },
]
