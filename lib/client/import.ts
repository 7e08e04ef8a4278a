/** Writes the records of a CSV or JSON-lines stream, in batches; safe to kill, and to run again (docs/operations.md). */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import type { Bytes } from '../core/bytes.ts'
import type { Plain } from '../core/envelope/plain.ts'
import { ZtError } from '../core/errors.ts'
import type { TableDefinition } from '../core/tables.ts'
import { fileError } from '../edge/files.ts'
import type { Client } from './client.ts'
import { isGate, type Patience, throughGate } from './gate.ts'
import { type Checkpoint, eventId, nextDigest, rowId, writeCheckpoint } from './import_checkpoint.ts'
import { type ImportFormat, type ImportRecord, importRecords } from './import_records.ts'
import { formatPlain } from './input.ts'
import { batchLimit } from './pending.ts'

export interface ImportOptions {
  readonly client: Client
  readonly def: TableDefinition
  readonly source: AsyncIterable<Bytes>
  readonly format: ImportFormat
  readonly delimiter?: string
  /** Where it begins, and what it keeps up to date. */
  readonly checkpoint: Checkpoint
  /** Path; without one a kill is followed by looking at every record again. */
  readonly checkpointFile?: string | undefined
  /** Path of the JSON lines that say which record was refused, and why. */
  readonly rejectsFile: string
  readonly patience: Patience
  /** Called after each batch with the bytes of the input that are dealt with. */
  readonly progress?: (done: Checkpoint, bytes: number) => void
}

interface Item {
  readonly line: number
  readonly id: string
  readonly event: string
  readonly plain: Plain
}

/** Runs it to the end of the input; what stands in the checkpoint is done, whatever ends it. */
export async function runImport(options: ImportOptions): Promise<Checkpoint> {
  const { client, def, checkpoint: state, patience } = options
  for (const writes of client.pendingBatches())
    if (writes[0]?.def === def) await settle(client, writes, patience)
  const rejects = openRejects(options.rejectsFile, state.rejectsBytes)
  try {
    let seen = 0
    let bytes = 0
    let digest: Bytes = new Uint8Array(32)
    let batch: ImportRecord[] = []
    const start = { records: state.records, digest: state.digest }
    const flush = async () => {
      await writeOne(options, batch, rejects)
      state.records = seen
      state.digest = digest
      state.rejectsBytes = rejects.length()
      if (options.checkpointFile !== undefined) writeCheckpoint(options.checkpointFile, state)
      options.progress?.(state, bytes)
      batch = []
    }
    for await (const record of importRecords(def, options.format, options.source, options.delimiter)) {
      seen += 1
      bytes += record.bytes.length + 1
      digest = nextDigest(digest, record.bytes)
      if (seen < start.records) continue
      if (seen === start.records) {
        requirePrefix(digest, start.digest, options.checkpointFile)
        continue
      }
      batch.push(record)
      if (batch.length === batchLimit) await flush()
    }
    if (seen < start.records) requirePrefix(digest, start.digest, options.checkpointFile)
    if (batch.length > 0) await flush()
    return state
  } finally {
    rejects.close()
  }
}

function requirePrefix(digest: Bytes, expected: Bytes, path: string | undefined): void {
  if (Buffer.compare(digest, expected) === 0) return
  throw new ZtError('CONFLICT', `import: the input is not the one that ${path} belongs to`, {
    hint: 'remove the checkpoint to begin at the first record: what is written already is not written again',
  })
}

/** A call that an earlier run did not see the end of. */
async function settle(
  client: Client,
  writes: Parameters<Client['resendBatch']>[0],
  patience: Patience,
): Promise<void> {
  try {
    await throughGate(() => client.resendBatch(writes), patience)
  } catch (thrown) {
    // Refused for good means that nothing of it was written: its records are looked at again.
    if (isGate(thrown) || !(thrown instanceof ZtError) || !('sqlState' in thrown)) throw thrown
    if (!String(thrown.sqlState).startsWith('45W')) throw thrown
  }
}

async function writeOne(options: ImportOptions, batch: ImportRecord[], rejects: Rejects): Promise<void> {
  const { client, def, checkpoint: state, patience } = options
  const items: Item[] = []
  const lines = new Map<string, number>()
  const refuse = (line: number, reason: string) => {
    rejects.add({ line, reason })
    state.rejected += 1
  }
  for (const { line, plain, reason } of batch) {
    if (plain === undefined) {
      refuse(line, reason ?? 'unreadable')
      continue
    }
    const id = rowId(state.seed, formatPlain(plain))
    const twin = lines.get(id)
    if (twin !== undefined) {
      refuse(line, `the same record as line ${twin}`)
      continue
    }
    lines.set(id, line)
    items.push({ line, id, event: eventId(state.seed, id, line), plain })
  }
  const known = await client.lookUp(
    def.table,
    items.map(item => item.id),
  )
  const fresh = items.filter(item => {
    const row = known.get(item.id)
    if (row === undefined) return true
    // The database says that it is there: it must show the record, or it could swallow people.
    if (row.plain !== undefined && formatPlain(row.plain) !== formatPlain(item.plain))
      throw new ZtError('VERIFY_FAILED', `${def.table} ${item.id}: is not what line ${item.line} would make`)
    if (row.version === 1 && row.wrapVersion === 1 && row.event !== item.event)
      refuse(item.line, `the same record as another line, row ${item.id}`)
    else state.present += 1
    return false
  })
  if (fresh.length > 0) await throughGate(() => client.createBatch(def.table, fresh), patience)
  state.written += fresh.length
}

interface Rejects {
  add(reject: { line: number; reason: string }): void
  length(): number
  close(): void
}

/** Opened when the first record is refused; what a killed run wrote beyond its checkpoint is cut off. */
function openRejects(path: string, start: number): Rejects {
  let fd: number | undefined
  let length = start
  const guarded = <T>(act: () => T): T => {
    try {
      return act()
    } catch (thrown) {
      throw fileError(thrown, path, 'rejects')
    }
  }
  return {
    add: reject =>
      guarded(() => {
        if (fd === undefined) {
          fd = openSync(path, start === 0 ? 'w' : 'r+', 0o600)
          ftruncateSync(fd, start)
        }
        const line = Buffer.from(`${JSON.stringify(reject)}\n`)
        for (let done = 0; done < line.length; )
          done += writeSync(fd, line, done, line.length - done, length + done)
        length += line.length
      }),
    length: () => length,
    close: () => {
      if (fd !== undefined) closeSync(fd)
      fd = undefined
    },
  }
}
