/** Collects an evidence bundle: nonce, anchor, probes, trail, manifest, anchor (SPEC §7.2). Judges nothing. */

import { hostname } from 'node:os'
import { sha256 } from '@noble/hashes/sha2.js'
import { tableDefinitions } from '../../sql/index.ts'
import { parseEvent } from '../core/audit/event.ts'
import { formatExportEnd, formatExportEvent, formatExportHeader } from '../core/audit/export.ts'
import type { TrailEvent } from '../core/audit/source.ts'
import { type Bytes, fromHex, random, toHex, utf8, uuidBytes } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import { formatCanonical } from '../core/json.ts'
import { formatManifest } from '../core/proof/bundle.ts'
import { formatObservation, observationName } from '../core/proof/observation.ts'
import { formatTime } from '../core/time.ts'
import { packArchive } from './archive.ts'
import { bundleMode } from './bundle_file.ts'
import { openOutput } from './files.ts'
import { readGoogleEvidence } from './gcp/evidence_file.ts'
import { type Connection, openMysql } from './mysql.ts'
import { accessProbes } from './probe/access.ts'
import { publicCertificates } from './probe/certificates.ts'
import { hostProbes } from './probe/host.ts'
import { readProbeIdentity, refuseRealClients } from './probe/identity.ts'
import { networkProbes } from './probe/network.ts'
import { observe, type Probe, type ProbeContext } from './probe/probe.ts'
import { eventsFrom, openLiveTrail } from './trail.ts'
import { exportLines, readAnchors } from './verify.ts'

export interface CollectOptions {
  clientsDir: string
  out: string
  tool: string
  commit: string
  /** Root's socket, on the host. */
  socket?: string
  install?: ProbeContext['install']
  canary?: string
  /** Hex of 32 bytes, the auditor's; a random one otherwise. */
  nonce?: string
  /** The host's copy of the anchors. */
  wormDir?: string
  /** CycloneDX JSON of the tool. */
  sbom?: string
  /** Evidence of the set-up on Google Cloud: a file, or its folder. */
  google?: string
  /** Makes an anchor at once; without it the next one is waited for. */
  anchorNow?: () => Promise<void>
  onStep?: (label: string, done: number, total: number) => void
}

export interface Collected {
  out: string
  digest: string
  nonce: string
  observations: number
  errors: string[]
}

const probes: Probe[] = [...networkProbes, ...accessProbes, ...hostProbes]

/** How many of the host's anchors go into a bundle: the auditor has a copy of all. */
const newestAnchors = 100

/** Longer than two anchors that come a minute apart. */
const anchorWaitMs = 180_000

export async function collectBundle(options: CollectOptions): Promise<Collected> {
  refuseRealClients(options.clientsDir)
  const [own, neighbour, auditor] = ['probe_a', 'probe_b', 'probe_auditor'].map(account =>
    readProbeIdentity(options.clientsDir, account),
  )
  if (!own || !neighbour || !auditor) throw new ZtError('INTERNAL', 'three probe identities expected')
  const nonce = options.nonce ?? toHex(random(32))
  const google = options.google === undefined ? undefined : readGoogleEvidence(options.google)
  const bundle = openOutput(options.out) // first: nothing is asked of the database where there is no place for the answer
  const open: Connection[] = []
  const connect = async (...args: Parameters<typeof openMysql>): Promise<Connection> => {
    const connection = await openMysql(...args)
    open.push(connection)
    return connection
  }
  const total = probes.length + 5
  let done = 0
  const step = (label: string): void => options.onStep?.(label, ++done, total)
  try {
    const trail = await connect({ defaultsFile: auditor.defaultsFile, database: 'securedb' })
    const root =
      options.socket === undefined ? undefined : await connect({ socket: options.socket, user: 'root' })

    await waitForAnchor(trail, options, await recordNonce(trail, 'nonce', nonce))
    step('opening anchor')

    const files = new Map<string, Bytes>()
    const attach = (path: string, bytes: Bytes) => files.set(path, bytes)
    const context = await contextOf(trail, { own, neighbour, root, attach, options })
    const errors: string[] = []
    for (const probe of probes) {
      const observation = await observe(probe, context)
      files.set(observationName(probe.id), utf8(formatObservation(observation)))
      if (observation.error !== undefined) errors.push(`${probe.id}: ${observation.error}`)
      step(probe.id)
    }
    if (google) files.set(observationName(google.id), utf8(formatObservation(google)))
    if (root) files.set('schema.json', utf8(formatCanonical(await schemaRows(root), true)))
    for (const { name, bytes } of options.wormDir === undefined
      ? []
      : await readAnchors(options.wormDir, newestAnchors))
      files.set(`anchors/${name}`, bytes)
    for (const [path, pem] of publicCertificates(files, [own, neighbour, auditor])) files.set(path, utf8(pem))
    if (options.sbom !== undefined) files.set('sbom.cdx.json', utf8(options.sbom))
    step('schema and anchors')

    const snapshot = await connect({ defaultsFile: auditor.defaultsFile, database: 'securedb' })
    const source = await openLiveTrail(snapshot, tableDefinitions)
    const lines: string[] = []
    for await (const text of exportLines(source, () => undefined)) lines.push(text)
    files.set('trail.ndjson', utf8(lines.join('')))
    step('trail')

    const { tool, commit } = options
    const created = formatTime(Date.now() * 1000)
    const { origin, size } = source
    const manifest = utf8(
      formatManifest({ tool, commit, host: hostname(), origin, nonce, size, created }, files),
    )
    const digest = toHex(sha256(manifest))
    files.set('manifest.json', manifest)
    const closed = await waitForAnchor(trail, options, await recordNonce(trail, 'manifest', digest))
    files.set('closing.ndjson', utf8(await closingLines(trail, origin, size, closed)))
    step('closing anchor')

    bundle.write(await packArchive(files, bundleMode))
    bundle.commit()
    step('bundle')
    return { out: options.out, digest, nonce, observations: probes.length, errors }
  } finally {
    bundle.abort()
    for (const connection of open) await connection.close()
  }
}

async function contextOf(
  trail: Connection,
  given: Pick<ProbeContext, 'own' | 'neighbour' | 'root' | 'attach'> & { options: CollectOptions },
): Promise<ProbeContext> {
  const { options, ...rest } = given
  const [head] = await trail.query('SELECT origin FROM securedb.chain_head WHERE id = 1')
  return { ...rest, origin: String(head?.origin), install: options.install, canary: options.canary }
}

/** Returns the event's id, 16 bytes. */
async function recordNonce(trail: Connection, action: 'nonce' | 'manifest', hash: string): Promise<Bytes> {
  const [rows] = await trail.call('securedb.record_nonce', [action, fromHex(hash, action, 32)])
  const receipt = rows?.[0]?.receipt
  const payload = typeof receipt === 'string' ? utf8(receipt) : receipt
  if (!(payload instanceof Uint8Array)) throw new ZtError('MYSQL', 'record_nonce returned no receipt')
  return uuidBytes(parseEvent(payload, 'receipt').id)
}

/** Waits until `event` is under an anchor that the store has confirmed; returns that anchor's size. */
async function waitForAnchor(trail: Connection, options: CollectOptions, event: Bytes): Promise<number> {
  await options.anchorNow?.()
  for (const end = Date.now() + anchorWaitMs; Date.now() < end; await Bun.sleep(500)) {
    const [[status] = []] = await trail.call('securedb.anchor_status')
    const [sealed] = await trail.query(
      'SELECT seq FROM securedb.audit_events WHERE tenant_id = ? AND evt_id = ?',
      [new Uint8Array(16), event],
    )
    const size = Number(status?.recorded_size ?? 0)
    if (
      sealed &&
      size > Number(sealed.seq) &&
      Number(status?.confirmed_number) === Number(status?.recorded_number)
    )
      return size
  }
  throw new ZtError('UNREACHABLE', 'no anchor came within three minutes', {
    hint: 'run anchor_head now on the database host, and see that its timer runs',
  })
}

async function schemaRows(root: Connection): Promise<string[][]> {
  const [rows] = await root.call('securedb.schema_snapshot')
  return (rows ?? []).map(row => [String(row.kind), String(row.name), String(row.definition)])
}

async function closingLines(trail: Connection, origin: string, from: number, size: number): Promise<string> {
  const events: TrailEvent[] = []
  for await (const batch of eventsFrom(trail, from, size)) events.push(...batch)
  const head = toHex(events.at(-1)?.curr ?? new Uint8Array(32))
  return [
    formatExportHeader({ origin, from, size, head }),
    ...events.map(formatExportEvent),
    formatExportEnd({ events: events.length, queued: 0, rows: 0 }),
  ].join('')
}
