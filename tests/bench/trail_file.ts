/** A long honest trail as an auditor holds it: an export without rows, its anchors, and a signed trust folder. */
import { createHash } from 'node:crypto'
import { closeSync, existsSync, mkdirSync, openSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { anchorHash, anchorName, formatAnchor, noPredecessor } from '../../lib/core/audit/anchor.ts'
import { genesisHash } from '../../lib/core/audit/chain.ts'
import { type AnchorKey, publicKeys, signCheckpoint } from '../../lib/core/audit/checkpoint.ts'
import { formatExportEnd, formatExportHeader } from '../../lib/core/audit/export.ts'
import { Frontier } from '../../lib/core/audit/merkle.ts'
import { newUuid, random, toBase64, toHex } from '../../lib/core/bytes.ts'
import { buildTrust } from '../../lib/core/trust_build.ts'
import { goldenFingerprints } from '../../sql/index.ts'
import { logName, makeCa, makeClient, makeContent, tenantA } from '../support/trust.ts'

export interface TrailFile {
  dir: string
  file: string
  anchors: string
  trust: string
  events: number
  /** Mean length of a payload, bytes. */
  payload: number
}

const hash = (...parts: Uint8Array[]): Buffer => {
  const h = createHash('sha256')
  for (const part of parts) h.update(part)
  return h.digest()
}

const timeAt = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z')

/** Made once in `dir`; a second call finds it. About 130,000 events a second. */
export async function trailFile(dir: string, events: number, eventsAnAnchor = 50_000): Promise<TrailFile> {
  const at = (...names: string[]) => join(dir, ...names)
  const done: TrailFile = {
    dir,
    file: at('trail.ndjson'),
    anchors: at('anchors'),
    trust: at('trust'),
    events,
    payload: 660,
  }
  if (existsSync(at('done'))) return done
  mkdirSync(at('anchors'), { recursive: true })
  const key: AnchorKey = { name: logName, ed25519: random(32), mldsa44: random(32) }
  const ca = await makeCa()
  const client = await makeClient(ca, 'app_user', 'app', tenantA)
  const content = await makeContent([ca], [client])
  const trust = buildTrust({ ...content, logKeys: [{ ...publicKeys(key), from: 1, until: null }] }, [
    ca.scalar,
  ])
  for (const [path, bytes] of trust) {
    mkdirSync(dirname(at('trust', path)), { recursive: true })
    writeFileSync(at('trust', path), bytes)
  }
  const [fingerprint = ''] = goldenFingerprints
  const frontier = new Frontier(0, [], bytes => hash(bytes))
  const start = Date.UTC(2026, 0, 2, 1)
  let head: Uint8Array = genesisHash(logName)
  let prevAnchor = noPredecessor
  let number = 0
  const lines: string[] = []
  const fd = openSync(at('events'), 'w')
  let total = 0
  for (let seq = 0; seq < events; seq++) {
    const ms = start + Math.floor(seq / 100)
    const isAnchor = seq % eventsAnAnchor === eventsAnAnchor - 1 || seq === events - 1
    const common = { v: 1, id: newUuid(), time: timeAt(ms) }
    const empty = {
      key: null,
      ver: null,
      wver: null,
      scheme: null,
      before: null,
      after: null,
      sig: null,
      signer: null,
    }
    const event =
      seq === 0
        ? {
            ...common,
            actor: 'root@localhost',
            conn: 1,
            tenant: null,
            table: null,
            action: 'genesis',
            ...empty,
            data: { origin: logName },
          }
        : isAnchor
          ? {
              ...common,
              actor: 'anchor@localhost',
              conn: 2,
              tenant: null,
              table: null,
              action: 'anchor',
              ...empty,
              data: { number: ++number, fingerprint, prev: prevAnchor },
            }
          : {
              ...common,
              actor: 'app_user@127.0.0.1',
              conn: 7,
              tenant: tenantA,
              table: 'users',
              action: 'create',
              key: newUuid(),
              ver: 1,
              wver: 1,
              scheme: 'users/1',
              before: null,
              after: toHex(random(32)),
              sig: toBase64(random(64)),
              signer: toHex(random(32)),
              data: null,
            }
    const payload = Buffer.from(JSON.stringify(event))
    total += payload.length
    const curr = hash(head, payload)
    lines.push(
      `{"seq":${seq},"prev":"${toHex(head)}","payload":"${payload.toString('base64')}","curr":"${toHex(curr)}"}\n`,
    )
    head = curr
    frontier.append(hash(Uint8Array.of(0), payload))
    if (isAnchor) {
      const size = seq + 1
      const second = Math.floor(ms / 1000) + 1
      const time = timeAt(second * 1000)
      const checkpoint = signCheckpoint({ origin: logName, size, root: frontier.root() }, [key], second)
      const anchor = formatAnchor({
        v: 1,
        origin: logName,
        number,
        size,
        head: toHex(curr),
        fingerprint,
        prev: prevAnchor,
        time,
        checkpoint,
      })
      prevAnchor = anchorHash(anchor)
      writeFileSync(at('anchors', anchorName(number)), anchor)
      utimesSync(at('anchors', anchorName(number)), second + 1, second + 1)
    }
    if (lines.length === 10_000) writeSync(fd, lines.splice(0).join(''))
  }
  writeSync(fd, lines.join(''))
  closeSync(fd)
  writeFileSync(at('head'), formatExportHeader({ origin: logName, from: 0, size: events, head: toHex(head) }))
  writeFileSync(at('end'), formatExportEnd({ events, queued: 0, rows: 0 }))
  const joined = Bun.spawn(['sh', '-c', 'cat head events end > trail.ndjson && rm head events end'], {
    cwd: dir,
  })
  if ((await joined.exited) !== 0) throw new Error('the trail could not be put together')
  writeFileSync(at('done'), String(Math.round(total / events)))
  return { ...done, payload: Math.round(total / events) }
}
