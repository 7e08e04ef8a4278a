/** The evidence bundle (SPEC §7.2): its manifest, its files, and the trail in it. */
import { sha256 } from '@noble/hashes/sha2.js'
import { z } from 'zod'
import { anchorMaxBytes } from '../audit/anchor.ts'
import { exportSource } from '../audit/export.ts'
import type { TrailSource } from '../audit/source.ts'
import { type Bytes, fromUtf8, toHex } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { scanResultsMaxBytes, scanResultsName } from '../openscap.ts'
import { isOrigin } from '../origin.ts'
import { parsePem } from '../pem.ts'
import type { TableDefinition } from '../tables.ts'
import { isTime } from '../time.ts'
import { type CertificateInfo, readCertificate } from '../x509.ts'
import { type Observation, observationMaxBytes, parseObservation } from './observation.ts'

const hash = z.string().regex(/^[0-9a-f]{64}$/)

/** Observations, a hundred anchors, and room for releases to come. */
const mostFiles = 2000
/** Two thousand files with the longest names. */
const manifestMaxBytes = 1 << 20

/** All together; as values in memory they take many times that. */
const observationsMaxBytes = 4 << 20

const manifestSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-proof'),
  tool: z.string().max(200),
  commit: z.string().max(200),
  host: z.string().max(300),
  origin: z.string().refine(isOrigin),
  nonce: hash,
  size: z.int().positive(),
  created: z.string().refine(isTime),
  files: z
    .array(z.strictObject({ path: z.string().max(200), size: z.int().nonnegative(), sha256: hash }))
    .max(mostFiles),
})

export type Manifest = z.infer<typeof manifestSchema>

/** path → bytes. */
export type BundleFiles = ReadonlyMap<string, Bytes>

const outside = ['manifest.json', 'closing.ndjson']
const allowed =
  /^(?:manifest\.json|closing\.ndjson|trail\.ndjson|schema\.json|sbom\.cdx\.json|openscap\/results\.xml|observations\/[a-z0-9_]{1,40}\.json|anchors\/anchor-[0-9]{10}\.json|certificates\/[A-Za-z0-9_.-]{1,100}\.pem)$/

/** True for a name that a bundle may have. The archive reader asks before it unpacks anything. */
export const isBundleName = (name: string): boolean => allowed.test(name)

/** By folder or name; the trail may take what the archive may. */
const mostBytes: Record<string, number> = {
  'manifest.json': manifestMaxBytes,
  'closing.ndjson': 8 << 20,
  'schema.json': 4 << 20,
  'sbom.cdx.json': 4 << 20,
  openscap: scanResultsMaxBytes,
  observations: observationMaxBytes,
  anchors: anchorMaxBytes,
  certificates: 1 << 16,
}

/** Asked about each entry of an archive before its bytes are read: names, sizes and numbers are a stranger's. */
export function bundleGate(): (name: string, size: number) => boolean {
  let [entries, observed] = [0, 0]
  return (name, size) => {
    const kind = name.split('/')[0] ?? ''
    if (kind === 'observations') observed += size
    return (
      isBundleName(name) &&
      ++entries <= mostFiles &&
      size <= (mostBytes[kind] ?? Number.POSITIVE_INFINITY) &&
      observed <= observationsMaxBytes
    )
  }
}

const broken = (message: string): ZtError =>
  new ZtError('VERIFY_FAILED', `bundle: ${message}`, { hint: 'ask for the bundle again; do not mend it' })

/** The manifest's text for files collected so far. */
export function formatManifest(head: Omit<Manifest, 'v' | 'kind' | 'files'>, files: BundleFiles): string {
  const { tool, commit, host, origin, nonce, size, created } = head
  const list = [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([path, bytes]) => ({ path, size: bytes.length, sha256: toHex(sha256(bytes)) }))
  return formatCanonical(
    { v: 1, kind: 'ztmysql-proof', tool, commit, host, origin, nonce, size, created, files: list },
    true,
  )
}

export interface Bundle {
  manifest: Manifest
  /** Hex of SHA-256 of manifest.json. */
  digest: string
  observations: Map<string, Observation>
  trail: TrailSource
  /** Events from the trail's end to the closing anchor. */
  closing: TrailSource
  /** The host's own anchors: names and bytes. */
  anchors: Map<string, Bytes>
  certificates: BundleCertificate[]
  /** What an OpenSCAP scan found, where one was run. */
  scan: Bytes | undefined
}

/** A public certificate that the collector met. */
export interface BundleCertificate {
  path: string
  info: CertificateInfo
}

/** @throws VERIFY_FAILED, BAD_FORMAT, NEWER_FORMAT, BAD_LENGTH */
export async function readBundle(
  files: BundleFiles,
  definitions: Map<string, TableDefinition>,
): Promise<Bundle> {
  const need = (path: string): Bytes => {
    const bytes = files.get(path)
    if (bytes === undefined) throw broken(`${path} is missing`)
    return bytes
  }
  const manifestBytes = need('manifest.json')
  const manifest = parseCanonical(manifestBytes, manifestSchema, 'manifest.json', {
    newline: true,
    maxBytes: manifestMaxBytes,
  })
  const names = manifest.files.map(file => file.path)
  if (names.some((name, i) => i > 0 && name <= (names[i - 1] ?? '')))
    throw broken('the manifest is not sorted')
  for (const name of files.keys()) {
    if (!isBundleName(name)) throw broken(`${JSON.stringify(name)} does not belong in it`)
    if (!outside.includes(name) && !names.includes(name)) throw broken(`${name} is not in its manifest`)
  }
  for (const { path, size, sha256: digest } of manifest.files) {
    if (outside.includes(path)) throw broken(`its manifest lists ${path}`)
    const bytes = need(path)
    if (bytes.length !== size || toHex(sha256(bytes)) !== digest)
      throw broken(`${path} is not what its manifest says`)
  }
  const observations = new Map<string, Observation>()
  for (const [name, bytes] of files)
    if (name.startsWith('observations/')) {
      const observation = parseObservation(bytes, name)
      observations.set(observation.id, observation)
    }
  const trail = await trailIn(need('trail.ndjson'), definitions, 'trail.ndjson')
  const closing = await trailIn(need('closing.ndjson'), definitions, 'closing.ndjson')
  if (trail.origin !== manifest.origin || closing.origin !== manifest.origin)
    throw broken('its trail is of another log than its manifest says')
  if (trail.from !== 0 || trail.size !== manifest.size)
    throw broken('trail.ndjson has another size than its manifest says')
  if (closing.from !== trail.size) throw broken('closing.ndjson does not go on where trail.ndjson ends')
  const anchors = new Map(
    [...files].flatMap(([name, bytes]): [string, Bytes][] =>
      name.startsWith('anchors/') ? [[name.slice('anchors/'.length), bytes]] : [],
    ),
  )
  const certificates = [...files].flatMap(([path, bytes]) =>
    path.startsWith('certificates/') ? [{ path, info: certificateIn(path, bytes) }] : [],
  )
  return {
    manifest,
    digest: toHex(sha256(manifestBytes)),
    observations,
    trail,
    closing,
    anchors,
    certificates,
    scan: files.get(scanResultsName),
  }
}

/** One certificate and nothing beside it: a key in its place would be published with the bundle. */
function certificateIn(path: string, bytes: Bytes): CertificateInfo {
  return readCertificate(parsePem(fromUtf8(bytes, path), 'CERTIFICATE', path), path)
}

function trailIn(
  bytes: Bytes,
  definitions: Map<string, TableDefinition>,
  what: string,
): Promise<TrailSource> {
  async function* lines(): AsyncGenerator<string> {
    for (let start = 0; start < bytes.length; ) {
      const end = bytes.indexOf(0x0a, start)
      const stop = end < 0 ? bytes.length : end + 1
      if (stop - start > 1 << 16)
        throw new ZtError('BAD_FORMAT', `${what}: a line is longer than 65536 bytes`)
      yield fromUtf8(bytes.subarray(start, stop), what)
      start = stop
    }
  }
  const last = bytes.subarray(Math.max(0, bytes.lastIndexOf(0x0a, bytes.length - 2) + 1))
  if (last.length > 1024 || last.at(-1) !== 0x0a) throw broken(`${what} was cut`)
  return exportSource(lines, fromUtf8(last, what), definitions, what)
}

/** Trail and closing events as one chain, whose rows are of the moment before the closing events. */
export function joinTrails(trail: TrailSource, closing: TrailSource): TrailSource {
  return {
    ...trail,
    size: closing.size,
    ...(closing.head === undefined ? {} : { head: closing.head }),
    stateSize: trail.size,
    async *events() {
      yield* trail.events()
      yield* closing.events()
    },
  }
}
