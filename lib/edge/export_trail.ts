/** Writes exports and archives: the file appears complete or not at all (SPEC §4.9, §4.12). */
import { once } from 'node:events'
import { createZstdCompress } from 'node:zlib'
import type { CheckedAnchor } from '../core/audit/anchor_check.ts'
import { ChainCheck } from '../core/audit/chain_check.ts'
import { formatArchiveHeader, formatExportEnd, formatExportEvent } from '../core/audit/export.ts'
import { Findings } from '../core/audit/findings.ts'
import { baseOf } from '../core/audit/prove.ts'
import type { TrailSource } from '../core/audit/source.ts'
import { ZtError } from '../core/errors.ts'
import { openOutput } from './files.ts'
import { goodAnchors, type ProveOptions } from './prove.ts'
import { exportLines, readAnchors, type SourceOptions, trustOf, withSource } from './verify.ts'

type Progress = (done: number, total: number) => void

/** Writes texts to `out`, packed where that is asked for. */
async function writeTexts(out: string, zstd: boolean, texts: AsyncIterable<string>): Promise<void> {
  const output = openOutput(out)
  try {
    if (!zstd) for await (const text of texts) output.write(text)
    else {
      const packer = createZstdCompress()
      packer.on('data', (chunk: Buffer) => output.write(chunk))
      const ended = once(packer, 'end')
      for await (const text of texts) if (!packer.write(text)) await once(packer, 'drain')
      packer.end()
      await ended
    }
    output.commit()
  } finally {
    output.abort()
  }
}

/** The whole trail and its rows. */
export async function exportTrail(
  options: SourceOptions & { zstd?: boolean },
  out: string,
  onProgress: Progress,
): Promise<{ events: number; rows: number }> {
  return withSource(options, async source => {
    let [events, rows] = [0, 0]
    const total = source.size + (source.rowCount ?? 0)
    const texts = exportLines(source, (e, r) => {
      events = e
      rows = r
      onProgress(e + r, total)
    })
    await writeTexts(out, options.zstd ?? false, texts)
    return { events, rows }
  })
}

export interface ArchiveOptions extends ProveOptions {
  /** Anchor numbers: what they cover is in the archive from behind the first to the second. 0: from the start. */
  from: number
  to: number
  out: string
  zstd?: boolean
}

/**
 * A range of events, from behind one anchor up to another. Nothing is deleted.
 * @throws VERIFY_FAILED where the range is not what was anchored: then there is no file
 */
export async function archiveTrail(
  options: ArchiveOptions,
  onProgress: Progress,
): Promise<{ from: number; size: number }> {
  const { from, to } = options
  if (from >= to)
    throw new ZtError('USAGE', `--from ${from} is not before --to ${to}`, {
      hint: 'both are numbers of anchors',
    })
  const trust = trustOf(options)
  const anchors = goodAnchors(await readAnchors(options.anchors), trust, options.engine)
  const named = (number: number): CheckedAnchor => {
    const anchor = anchors.find(one => one.number === number)
    if (anchor) return anchor
    throw new ZtError('NOT_FOUND', `anchor ${number}: no good one of this number is in your copy`)
  }
  const [first, last] = [from === 0 ? undefined : named(from), named(to)]
  const between = anchors.filter(one => one.number > from && one.number <= to)
  return withSource(options, async source => {
    const begin = first?.size ?? 0
    if (source.base && source.base.anchor !== from)
      throw new ZtError(
        'BAD_INPUT',
        `${options.file}: is a range that begins behind anchor ${source.base.anchor}`,
      )
    const lines = archiveLines(source, trust.origin, first, between, count =>
      onProgress(count - begin, last.size - begin),
    )
    await writeTexts(options.out, options.zstd ?? false, lines)
    return { from: begin, size: last.size }
  })
}

async function* archiveLines(
  source: TrailSource,
  origin: string,
  first: CheckedAnchor | undefined,
  between: CheckedAnchor[],
  onCount: (count: number) => void,
): AsyncGenerator<string> {
  const base = source.base ?? (first && (await baseOf(source, first)))
  const last = between.at(-1)
  if (!last) throw new ZtError('INTERNAL', 'archive: no anchor at its end')
  const findings = new Findings()
  const chain = new ChainCheck(origin, between, findings, { base })
  const begin = base?.size ?? 0
  yield formatArchiveHeader({ origin, from: begin, size: last.size, head: last.head }, base)
  for await (const batch of source.events(begin)) {
    const wanted = batch.filter(({ seq }) => seq >= begin && seq < last.size)
    for (const event of wanted) chain.add(event)
    onCount(chain.size)
    yield wanted.map(formatExportEvent).join('')
    if (wanted.length < batch.length || !findings.clean) break
  }
  chain.finish(last.number)
  const [fault] = findings.kept.filter(finding => finding.severity === 'fail')
  if (fault)
    throw new ZtError('VERIFY_FAILED', `${fault.code}: ${fault.where}: ${fault.what}`, {
      hint: 'run chain_verify: nothing is archived that does not verify',
    })
  yield formatExportEnd({ events: last.size - begin, queued: 0, rows: 0 })
}
