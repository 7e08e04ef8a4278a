/** An export in a file (SPEC §4.9): read in blocks, with places found by halving, and unpacked first where it is zstd. */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
} from 'node:fs'
import { stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createZstdDecompress } from 'node:zlib'
import { exportSource, parseExportEvents, type SeekableLines } from '../core/audit/export.ts'
import type { LineRun, TrailSource } from '../core/audit/source.ts'
import { ZtError } from '../core/errors.ts'
import type { TableDefinition } from '../core/tables.ts'
import { onExit } from './cleanup.ts'

const maxLine = 1 << 16
const blockBytes = 1 << 20
const eventStart = Buffer.from('{"seq":')

/** Blocks of whole lines from `offset` on. @throws BAD_FORMAT on a line that is too long: whoever wrote it chose that */
function* blocks(fd: number, path: string, offset: number): Generator<{ bytes: Buffer; at: number }> {
  let rest = Buffer.alloc(0)
  for (let at = offset; ; ) {
    const block = Buffer.allocUnsafe(rest.length + blockBytes)
    rest.copy(block)
    const read = readSync(fd, block, rest.length, blockBytes, at + rest.length)
    const bytes = block.subarray(0, rest.length + read)
    const end = read === 0 ? bytes.length : bytes.lastIndexOf(0x0a) + 1
    if (bytes.length - end > maxLine)
      throw new ZtError('BAD_FORMAT', `${path}: a line is longer than ${maxLine} characters`)
    if (end > 0) yield { bytes: bytes.subarray(0, end), at }
    if (read === 0) return
    rest = bytes.subarray(end)
    at += end
  }
}

function* linesIn(fd: number, path: string, offset: number): Generator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  for (const { bytes } of blocks(fd, path, offset)) {
    let text: string
    try {
      text = decoder.decode(bytes)
    } catch (cause) {
      throw new ZtError('BAD_FORMAT', `${path}: not valid UTF-8`, { cause })
    }
    for (let at = 0; at < text.length; ) {
      const end = text.indexOf('\n', at) + 1 || text.length
      if (end - at > maxLine)
        throw new ZtError('BAD_FORMAT', `${path}: a line is longer than ${maxLine} characters`)
      yield text.slice(at, end)
      at = end
    }
  }
}

/** Offset of the line end number `n`, counted from 1, and how many there are at most `n`. */
function endOfLine(bytes: Buffer, n: number): { end: number; found: number } {
  let [end, found] = [0, 0]
  while (found < n) {
    const next = bytes.indexOf(0x0a, end)
    if (next < 0) break
    end = next + 1
    found++
  }
  return { end, found }
}

class SeekableFile implements SeekableLines {
  readonly #fd: number
  readonly #path: string
  readonly #size: number
  #eventsEnd: number | undefined

  constructor(fd: number, path: string, size: number) {
    this.#fd = fd
    this.#path = path
    this.#size = size
  }

  async *open(): AsyncGenerator<string> {
    yield* linesIn(this.#fd, this.#path, 0)
  }

  readonly after = (): AsyncIterable<string> => this.#from(this.#endOfEvents())

  async *#from(offset: number): AsyncGenerator<string> {
    yield* linesIn(this.#fd, this.#path, offset)
  }

  #endOfEvents(): number {
    this.#eventsEnd ??= this.#find(Number.POSITIVE_INFINITY)
    return this.#eventsEnd
  }

  /** Start of the first line behind the header that is no event before `seq`, if the file is in order. */
  #find(seq: number): number {
    const peek = (offset: number): { at: number; before: boolean } | undefined => {
      const bytes = Buffer.alloc(2 * maxLine)
      const read = readSync(this.#fd, bytes, 0, bytes.length, Math.max(0, offset - 1))
      const seen = bytes.subarray(0, read)
      const start = offset === 0 ? 0 : seen.indexOf(0x0a) + 1
      if (offset > 0 && start === 0) return undefined
      const line = seen.subarray(start, start + 40)
      const at = Math.max(0, offset - 1) + start
      const number = line.subarray(0, eventStart.length).equals(eventStart)
        ? Number.parseInt(line.subarray(eventStart.length).toString('latin1'), 10)
        : Number.NaN
      return { at, before: offset === 0 || number < seq }
    }
    let [low, high] = [0, this.#size]
    // the answer is the start of a line behind `low`, which is before it, and not behind the one at `high`
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const found = peek(middle)
      if (found && found.at < this.#size && found.before) low = Math.max(middle + 1, found.at + 1)
      else high = middle
    }
    return peek(low)?.at ?? this.#size
  }

  async *runs(from: number, count: number): AsyncGenerator<LineRun> {
    const what = this.#path
    const miscounted = () =>
      new ZtError('BAD_FORMAT', `${what}: the closing line counts other lines than there are`)
    let left = count
    let offset = this.#find(from)
    if (left > 0)
      for (const { bytes, at } of blocks(this.#fd, what, offset)) {
        const { end, found } = endOfLine(bytes, left)
        const run = bytes.subarray(0, end)
        yield { bytes: run, what, events: () => parseExportEvents(run, what) }
        left -= found
        offset = at + end
        if (left === 0) break
      }
    // where the count of the closing line ends, the events must end too
    if (left > 0 || offset !== this.#endOfEvents()) throw miscounted()
  }
}

/** How much a zstd file may grow: whoever made it chose that. */
const mostGrowth = 200

/** The file's content in a temporary one, which goes when this program ends. */
async function unpacked(path: string, size: number): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'zt-export-'))
  onExit(() => rmSync(dir, { recursive: true, force: true }))
  const out = join(dir, 'export.ndjson')
  const limit = (1 << 20) + size * mostGrowth
  let written = 0
  const counted = new Transform({
    transform(chunk: Buffer, _, done) {
      written += chunk.length
      done(written > limit ? new Error(`grows to more than ${mostGrowth} times its size`) : null, chunk)
    },
  })
  try {
    await pipeline(
      createReadStream(path),
      createZstdDecompress(),
      counted,
      createWriteStream(out, { mode: 0o600 }),
    )
  } catch (cause) {
    rmSync(dir, { recursive: true, force: true })
    throw new ZtError(
      'BAD_FORMAT',
      `${path}: cannot be unpacked: ${cause instanceof Error ? cause.message : 'zstd'}`,
      {
        cause,
        hint: 'fetch it again; it may be cut',
      },
    )
  }
  return out
}

const zstdMagic = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])

/** @throws NOT_FOUND, BAD_INPUT, BAD_FORMAT; a file that was cut says so at once */
export async function openExport(
  path: string,
  definitions: Map<string, TableDefinition>,
): Promise<TrailSource> {
  const info = await stat(path).catch(cause => {
    throw new ZtError('NOT_FOUND', `${path}: cannot be read`, { cause, hint: 'name an export of this trail' })
  })
  if (!info.isFile()) throw new ZtError('BAD_INPUT', `${path}: not a regular file`)
  let fd = openSync(path, 'r')
  const close = onExit(() => closeSync(fd))
  const magic = Buffer.alloc(4)
  let size = info.size
  if (readSync(fd, magic, 0, 4, 0) === 4 && magic.equals(zstdMagic)) {
    const plain = await unpacked(path, size).catch(thrown => {
      closeSync(fd)
      close()
      throw thrown
    })
    closeSync(fd)
    fd = openSync(plain, 'r')
    size = (await stat(plain)).size
  }
  const file = new SeekableFile(fd, path, size)
  return exportSource(() => file.open(), lastLine(fd, size), definitions, path, file)
}

function lastLine(fd: number, size: number): string {
  const bytes = Buffer.alloc(Math.min(256, size))
  readSync(fd, bytes, 0, bytes.length, size - bytes.length)
  const tail = bytes.toString('latin1')
  return tail.endsWith('\n') ? `${tail.slice(0, -1).split('\n').at(-1)}\n` : ''
}
