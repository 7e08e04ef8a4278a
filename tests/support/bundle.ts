/** Bundles made in memory, over a small honest trail. */
import { sha256 } from '@noble/hashes/sha2.js'
import { publicKeys } from '../../lib/core/audit/checkpoint.ts'
import type { ServerAction, ServerData, ServerEvent } from '../../lib/core/audit/event.ts'
import {
  formatExportEnd,
  formatExportEvent,
  formatExportHeader,
  formatExportQueued,
  formatExportRow,
} from '../../lib/core/audit/export.ts'
import { type Bytes, newUuid, toHex, utf8 } from '../../lib/core/bytes.ts'
import type { Json } from '../../lib/core/controls/control.ts'
import { formatManifest, type Manifest } from '../../lib/core/proof/bundle.ts'
import { formatObservation, type Observation } from '../../lib/core/proof/observation.ts'
import { parseRequirement } from '../../lib/core/proof/profile.ts'
import type { VerifyBundleOptions } from '../../lib/core/proof/verify_bundle.ts'
import { honestTrail, notesTable, type TrailBuilder } from './trail.ts'

export const definitions = new Map([['notes', notesTable]])
export const nonce = 'ab'.repeat(32)

export function serverEvent<A extends ServerAction>(
  trail: TrailBuilder,
  action: A,
  data: ServerData[A],
): void {
  const nothing = { tenant: null, table: null, key: null, ver: null, wver: null, scheme: null }
  const unsigned = { before: null, after: null, sig: null, signer: null }
  const head = { v: 1, id: newUuid(), time: trail.time(), actor: 'auditor@localhost', conn: 9 }
  // members in the order of SPEC §4.1
  const { tenant, table, ...rest } = nothing
  trail.append({ ...head, tenant, table, action, ...rest, ...unsigned, data } as unknown as ServerEvent)
}

export const observation = (id: string, result: Json, more: Partial<Observation> = {}): Bytes =>
  utf8(
    formatObservation({
      v: 1,
      id,
      time: '2026-01-01T00:00:00.000000Z',
      host: 'db',
      identity: 'probe_a',
      grade: 'network',
      command: 'mysql',
      result,
      ...more,
    }),
  )

export interface Made {
  files: Map<string, Bytes>
  trail: TrailBuilder
}

export interface Bent {
  /** After the opening anchor, before the trail is exported. */
  before?: (trail: TrailBuilder) => void
  /** Between the export and the manifest's event. */
  between?: (trail: TrailBuilder) => void
  queued?: (trail: TrailBuilder) => Bytes[]
  files?: (files: Map<string, Bytes>, trail: TrailBuilder) => void
  manifest?: Partial<Manifest>
}

export function bundle({ before, between, queued, files: change, manifest: about }: Bent = {}): Made {
  const trail = honestTrail()
  serverEvent(trail, 'nonce', { nonce })
  trail.anchor()
  before?.(trail)
  const size = trail.events.length
  const waiting = queued?.(trail) ?? []
  const rows = [...trail.rows.values()]
  const files = new Map<string, Bytes>([
    ['observations/plaintext.json', observation('plaintext', { errno: 1045 })],
    ['observations/other_certificate.json', observation('other_certificate', { errno: 1045 })],
    [
      'trail.ndjson',
      utf8(
        [
          formatExportHeader({ origin: trail.origin, from: 0, size, head: toHex(trail.head) }),
          ...trail.events.slice(0, size).map(formatExportEvent),
          ...waiting.map(formatExportQueued),
          ...rows.map(row => formatExportRow(notesTable, { table: 'notes', row })),
          formatExportEnd({ events: size, queued: waiting.length, rows: rows.length }),
        ].join(''),
      ),
    ],
    ...trail.anchors.map(({ name, bytes }): [string, Bytes] => [`anchors/${name}`, bytes]),
  ])
  change?.(files, trail)
  const manifest = utf8(
    formatManifest(
      {
        tool: 'test',
        commit: 'test',
        host: 'db',
        origin: trail.origin,
        nonce,
        size,
        created: '2026-01-01T00:10:00.000000Z',
        ...about,
      },
      files,
    ),
  )
  files.set('manifest.json', manifest)
  between?.(trail)
  serverEvent(trail, 'manifest', { digest: toHex(sha256(manifest)) })
  trail.anchor()
  const closing = trail.events.slice(size)
  files.set(
    'closing.ndjson',
    utf8(
      [
        formatExportHeader({
          origin: trail.origin,
          from: size,
          size: trail.events.length,
          head: toHex(trail.head),
        }),
        ...closing.map(formatExportEvent),
        formatExportEnd({ events: closing.length, queued: 0, rows: 0 }),
      ].join(''),
    ),
  )
  return { files, trail }
}

export function options(trail: TrailBuilder, more: Partial<VerifyBundleOptions> = {}): VerifyBundleOptions {
  return {
    trust: {
      serial: 1,
      time: '2026-01-01T00:00:00.000000Z',
      origin: trail.origin,
      ca: [],
      crl: [],
      tenants: [],
      logKeys: [{ ...publicKeys(trail.key), from: 1, until: null }],
      certificates: [trail.app, trail.other, trail.admin].map(writer => writer.certificate),
    },
    anchors: trail.anchors,
    definitions,
    golden: ['ab'.repeat(32)],
    requirement: parseRequirement('full'),
    now: Date.UTC(2026, 0, 1, 1),
    signatures: 'last',
    gapSeconds: 300,
    ...more,
  }
}
