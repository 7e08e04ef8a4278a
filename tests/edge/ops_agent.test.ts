/** The file of Google's Ops Agent, in folders that stand for a machine of Google's. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { logFilter } from '../../lib/core/gcp/settings.ts'
import { isGoogleMachine, opsAgentConfig } from '../../lib/core/host/ops_agent.ts'
import { Journal } from '../../lib/edge/host/journal.ts'
import { opsAgentLayer } from '../../lib/edge/host/ops_agent.ts'
import type { Setup } from '../../lib/edge/host/setup.ts'

let dir: string
let restarted: string[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'zt-ops-'))
  restarted = []
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

interface Machine {
  product?: string
  /** undefined: the agent is not installed; null: it has no file. */
  config?: string | null
  worm?: string
}

function layerOf({ product, config, worm = '/var/lib/ztmysql/worm' }: Machine) {
  const places = {
    folder: join(dir, 'agent'),
    config: join(dir, 'agent/config.yaml'),
    unit: 'google-cloud-ops-agent.service',
    product: join(dir, 'product_name'),
  }
  if (product !== undefined) writeFileSync(places.product, product)
  if (config !== undefined) mkdirSync(places.folder)
  if (typeof config === 'string') writeFileSync(places.config, config)
  const setup = { wanted: { worm }, journal: new Journal(join(dir, 'journal')) } as unknown as Setup
  const take = async (unit: string) => void restarted.push(unit)
  return { places, plan: () => opsAgentLayer(setup, places, take) }
}

const google = 'Google Compute Engine\n'
const comments = '# the package’s own file\n#\n\n  # logging:\n'

describe('on a host', () => {
  test.each<[string, Machine]>([
    ['of somebody else, with its store in a folder', { product: 'PowerEdge R740\n', config: comments }],
    ['without firmware', { config: comments }],
    [
      'of somebody else that anchors into a bucket, without the agent',
      { product: 'KVM\n', worm: 'gs://b/anchors/' },
    ],
  ])('%s nothing is planned', async (_, machine) => {
    expect(await layerOf(machine).plan()).toEqual({ steps: [], findings: [] })
  })

  test('of Google, without the agent, a person is told that nothing is shipped', async () => {
    const { steps, findings } = await layerOf({ product: google }).plan()
    expect([steps, findings.map(({ detail }) => detail)]).toEqual([
      [],
      [expect.stringContaining('is not installed')],
    ])
  })

  test('of Google a file that is somebody’s own stays, and is named', async () => {
    const own = 'logging:\n  receivers: {}\n'
    const { places, plan } = layerOf({ product: google, config: own })
    const { steps, findings } = await plan()
    expect([steps, findings.map(({ item }) => item)]).toEqual([[], [places.config]])
    expect(readFileSync(places.config, 'utf8')).toBe(own)
  })

  test.skipIf(process.getuid?.() !== 0).each<[string, Machine]>([
    ['of Google, without a file', { product: google, config: null }],
    ['of Google, with the package’s comments', { product: google, config: comments }],
    [
      'with an older file of ours',
      { product: google, config: '# written by vm_oneclick; changes are drift\nlogging:\n' },
    ],
    ['that anchors into a bucket and has the agent', { config: null, worm: 'gs://acme-anchors/anchors/' }],
  ])('%s the file is put, the agent started anew, and then nothing is left', async (_, machine) => {
    const { places, plan } = layerOf(machine)
    const [step] = (await plan()).steps
    expect([step?.id, step?.changes.length]).toEqual(['ops-agent', 1])
    await step?.apply()
    expect(readFileSync(places.config, 'utf8')).toBe(opsAgentConfig)
    expect(restarted).toEqual([places.unit])
    expect((await plan()).steps.flatMap(({ changes }) => changes)).toEqual([])
  })
})

test('the file ships what the sink of outside_gcp_setup asks for, and nothing else', () => {
  const config = Bun.YAML.parse(opsAgentConfig) as {
    logging: {
      processors: Record<string, { match_any: string[] }>
      service: { pipelines: Record<string, { receivers: string[]; processors?: string[] }> }
    }
  }
  const { processors, service } = config.logging
  expect(service.pipelines.default_pipeline?.receivers).toEqual([])
  const [ours, ...others] = Object.entries(service.pipelines).filter(([name]) => name !== 'default_pipeline')
  expect([ours?.[1].processors, others]).toEqual([Object.keys(processors), []])
  expect(Object.values(processors).flatMap(each => each.match_any)).toEqual([
    'jsonPayload.message !~ "AUDIT_CHAIN_HEAD"',
  ])
  expect(logFilter).toContain('jsonPayload.message:"AUDIT_CHAIN_HEAD"')
})

test('a machine is Google’s by its firmware’s word alone', () => {
  for (const product of ['Google', 'Google Compute Engine\n']) expect(isGoogleMachine(product)).toBe(true)
  for (const product of ['', 'KVM', 'Not Google', 'Google Compute Engine clone'])
    expect(isGoogleMachine(product)).toBe(false)
})
