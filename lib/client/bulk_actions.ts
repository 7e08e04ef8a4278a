/** The commands of pq_envelope_cli that work on many records. Loaded only when one of them runs. */
import { createReadStream, statSync } from 'node:fs'
import { tableDefinitions } from '../../sql/index.ts'
import { type Bytes, toBase64 } from '../core/bytes.ts'
import { type Plain, plainColumns } from '../core/envelope/plain.ts'
import { ZtError } from '../core/errors.ts'
import type { TableDefinition } from '../core/tables.ts'
import { fileError, openOutput } from '../edge/files.ts'
import { type ClientFlags, foundLine, type Warn, withClient } from './actions.ts'
import { runImport } from './import.ts'
import { type Checkpoint, importSeed, readCheckpoint, requireSame } from './import_checkpoint.ts'
import type { ImportFormat } from './import_records.ts'

export interface ImportFlags extends ClientFlags {
  format?: ImportFormat
  delimiter: string
  checkpoint?: string
  rejects?: string
  /** Seconds. */
  patience: number
}

export interface Bar {
  update(done: number, total: number): void
  stop(): void
}

const definition = (table: string): TableDefinition => {
  const def = tableDefinitions.get(table)
  if (def?.procedures.createMany === undefined)
    throw new ZtError('BAD_INPUT', `${table}: is not a table that takes many records at once`)
  return def
}

async function* chunksOf(path: string): AsyncGenerator<Bytes> {
  const stream = path === '-' ? process.stdin : createReadStream(path)
  try {
    for await (const chunk of stream) yield chunk as Bytes
  } catch (thrown) {
    throw fileError(thrown, path === '-' ? 'stdin' : path, 'input')
  }
}

/** The format by the first character, and the same chunks again. */
async function sniffed(chunks: AsyncGenerator<Bytes>): Promise<[ImportFormat, AsyncGenerator<Bytes>]> {
  const first = await chunks.next()
  const bytes: Bytes = first.done ? new Uint8Array(0) : first.value
  const text = Buffer.from(bytes.subarray(0, 100)).toString('latin1')
  const again = async function* (): AsyncGenerator<Bytes> {
    yield bytes
    yield* chunks
  }
  return [/^(?:\xef\xbb\xbf)?\s*\{/.test(text) ? 'jsonl' : 'csv', again()]
}

const totals = ({ records, written, present, rejected }: Checkpoint) => ({
  records,
  written,
  present,
  rejected,
})

/** One line of JSON, and whether every record is in the database now. */
export async function importFile(
  file: string,
  flags: ImportFlags,
  bar: Bar,
  warn: Warn,
): Promise<{ line: string; complete: boolean }> {
  const def = definition(flags.table)
  const seconds = flags.patience
  if ([...flags.delimiter].length !== 1 || /["\r\n]/.test(flags.delimiter))
    throw new ZtError('USAGE', '--delimiter: expected one character, neither a quote nor a line end')
  const named = file === '-' ? undefined : `${file}.import.json`
  const checkpointFile = flags.checkpoint ?? named
  const rejectsFile = flags.rejects ?? `${file === '-' ? 'stdin' : file}.rejects.jsonl`
  if (file !== '-' && !statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new ZtError('NOT_FOUND', `${file}: no such file`)
  const size = file === '-' ? 0 : statSync(file).size
  return withClient(flags, warn, async ({ client, trust, identity }) => {
    const place = { origin: trust.origin, tenant: identity.tenant.id, table: def.table }
    const before = checkpointFile === undefined ? undefined : readCheckpoint(checkpointFile)
    if (before !== undefined && checkpointFile !== undefined) requireSame(before, checkpointFile, place)
    const state: Checkpoint = before ?? {
      ...place,
      seed: importSeed(identity.secretKey, place.origin, place.tenant, place.table),
      records: 0,
      digest: new Uint8Array(32),
      rejectsBytes: 0,
      written: 0,
      present: 0,
      rejected: 0,
    }
    const [format, source] = await sniffed(chunksOf(file))
    try {
      await runImport({
        client,
        def,
        source,
        format: flags.format ?? format,
        delimiter: flags.delimiter,
        checkpoint: state,
        checkpointFile,
        rejectsFile,
        patience: { seconds, warn },
        progress: ({ records }, bytes) =>
          bar.update(records, Math.max(records, Math.round((records * size) / Math.max(1, bytes)))),
      })
    } catch (thrown) {
      bar.stop()
      warn(`stopped: ${JSON.stringify(totals(state))}; the same command goes on from there`)
      throw thrown
    } finally {
      bar.stop()
    }
    const line = JSON.stringify({ ...totals(state), ...(state.rejected > 0 ? { rejects: rejectsFile } : {}) })
    return { line, complete: state.rejected === 0 }
  })
}

export interface ExportFlags extends ClientFlags {
  out: string
  format: ImportFormat
  yes?: boolean
}

/** RFC 4180; an absent value is an empty cell. */
const csvCell = (value: Plain[string] | undefined): string => {
  const text = value instanceof Uint8Array ? toBase64(value) : String(value ?? '')
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Every live row in clear; the output file appears whole or not at all. @returns one line, where stdout is free for it */
export async function exportRows(
  flags: ExportFlags,
  print: (line: string) => void,
  warn: Warn,
): Promise<string | undefined> {
  const def = tableDefinitions.get(flags.table)
  if (def === undefined || !def.sealed)
    throw new ZtError('BAD_INPUT', `${flags.table}: is not a sealed table`)
  if (flags.yes !== true)
    throw new ZtError('USAGE', `${def.table}: every live record would be written in clear to ${flags.out}`, {
      hint: 'nothing was read: add --yes to do it',
    })
  const names = [def.key.name, ...plainColumns(def).map(column => column.name)]
  const output = flags.out === '-' ? undefined : openOutput(flags.out)
  const put = (line: string) => (output === undefined ? print(line) : output.write(`${line}\n`))
  let rows = 0
  try {
    if (flags.format === 'csv') put(names.join())
    await withClient(flags, warn, async ({ client }) => {
      for await (const found of client.all(def.table)) {
        const values: Plain = { [def.key.name]: found.id, ...found.plain }
        put(flags.format === 'csv' ? names.map(name => csvCell(values[name])).join() : foundLine(found))
        rows += 1
      }
    })
    output?.commit({ replace: false })
  } finally {
    output?.abort()
  }
  return output === undefined ? undefined : JSON.stringify({ rows, out: flags.out })
}
