/** What a log sink of Google's can ship: the Ops Agent's file, where the host is a machine of Google's or anchors into a bucket. */
import { existsSync, readFileSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import { isForeign, isGoogleMachine, opsAgentConfig, opsAgentPlaces } from '../../core/host/ops_agent.ts'
import { readRegularFile } from '../files.ts'
import type { Setup } from './setup.ts'
import { fileStep, type Layer, rootFile } from './steps.ts'
import { must, unitState } from './system.ts'

export interface OpsAgentPlaces {
  folder: string
  config: string
  unit: string
  product: string
}

const configIn = (path: string): string | null =>
  existsSync(path) ? readRegularFile(path, 'file of the Ops Agent', 1 << 20).toString('utf8') : null

/** A file of the kernel's says no size. */
const productIn = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

async function restart(unit: string): Promise<void> {
  await must('systemctl', 'restart', unit)
  const { active } = await unitState(unit)
  if (active !== 'active') throw new ZtError('IO', `${unit} is ${active} with its new file`)
}

export async function opsAgentLayer(
  setup: Pick<Setup, 'wanted' | 'journal'>,
  places: OpsAgentPlaces = opsAgentPlaces,
  take: (unit: string) => Promise<void> = restart,
): Promise<Layer> {
  const nothing: Layer = { steps: [], findings: [] }
  const onGoogle = isGoogleMachine(productIn(places.product))
  if (!onGoogle && !setup.wanted.worm.startsWith('gs://')) return nothing
  if (!existsSync(places.folder)) {
    if (!onGoogle) return nothing // the agent is for Google's machines; anchors reach the bucket by themselves
    const detail =
      'is not installed, so no AUDIT_CHAIN_HEAD line comes to Cloud Logging and its sink has nothing to ship'
    return { steps: [], findings: [{ item: 'Google’s Ops Agent', detail }] }
  }
  if (isForeign(configIn(places.config)))
    return {
      steps: [],
      findings: [
        {
          item: places.config,
          detail:
            'is not ours and stays: see that its pipelines ship the lines AUDIT_CHAIN_HEAD of the system log',
        },
      ],
    }
  const step = fileStep(setup, {
    id: 'ops-agent',
    description: 'let Google’s Ops Agent ship the lines of the anchor, and no others',
    files: [rootFile(places.config, opsAgentConfig)],
    take: () => take(places.unit),
  })
  return { steps: [step], findings: [] }
}
