/**
 * Makes tests/vectors/audit-trail.json and audit-anchor.json: `bun tests/vectors/audit_vectors.ts`.
 * Everything is derived from fixed seeds and ML-DSA signs without added randomness, so that it always makes the same.
 */
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { join } from 'node:path'
import { ed25519 } from '@noble/curves/ed25519.js'
import { p256 } from '@noble/curves/nist.js'
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js'
import {
  anchorHash,
  anchorName,
  formatAnchor,
  formatAnchorSyslog,
  noPredecessor,
} from '../../lib/core/audit/anchor.ts'
import { genesisHash, linkHash } from '../../lib/core/audit/chain.ts'
import {
  type AnchorKey,
  cosignedMessage,
  formatTreeHead,
  publicKeys,
  type TreeHead,
} from '../../lib/core/audit/checkpoint.ts'
import { type Event, formatEvent, type RowAction, type ServerEvent } from '../../lib/core/audit/event.ts'
import { Frontier, leafHash } from '../../lib/core/audit/merkle.ts'
import { formatNote } from '../../lib/core/audit/note.ts'
import { formatReceipt } from '../../lib/core/audit/receipt.ts'
import { type Bytes, concat, fromUtf8, toBase64, toHex, u64, utf8 } from '../../lib/core/bytes.ts'
import { signWrite } from '../../lib/core/signature.ts'
import { formatVkey } from '../../lib/core/vkey.ts'

const generator = 'tests/vectors/audit_vectors.ts'
const origin = 'ztmysql.example/0123456789abcdef'
const tenant = '6f1b9c9e-2f0e-4a53-9a3e-0c5d1b7a1f00'

const seed = (label: string): Bytes => new Uint8Array(createHash('sha256').update(`vector ${label}`).digest())
const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
const time = (n: number): string =>
  `2026-01-02T03:04:${String(n).padStart(2, '0')}.${String(n * 1001).padStart(6, '0')}Z`

const writerSecret = seed('writer')
const writerPublic = p256.getPublicKey(writerSecret, false)
// the DER SubjectPublicKeyInfo of the writer's key, as its certificate has it
const spki = createPublicKey(
  createPrivateKey({
    key: {
      kty: 'EC',
      crv: 'P-256',
      d: Buffer.from(writerSecret).toString('base64url'),
      x: Buffer.from(writerPublic.subarray(1, 33)).toString('base64url'),
      y: Buffer.from(writerPublic.subarray(33)).toString('base64url'),
    },
    format: 'jwk',
  }),
).export({ type: 'spki', format: 'der' })
const signer = createHash('sha256').update(spki).digest('hex')

const unsigned = {
  tenant: null,
  table: null,
  key: null,
  ver: null,
  wver: null,
  scheme: null,
  before: null,
  after: null,
  sig: null,
  signer: null,
}

type Make = (n: number) => Event

const server = <A extends ServerEvent['action']>(
  action: A,
  data: Extract<ServerEvent, { action: A }>['data'],
): Make => {
  const { tenant, table, key, ...rest } = unsigned
  return n =>
    ({
      v: 1,
      id: id(n),
      time: time(n),
      actor: 'root@localhost',
      conn: 7,
      tenant,
      table,
      action,
      key,
      ...rest,
      data,
    }) as ServerEvent
}

const row =
  (action: RowAction, table: string, key: string, ver: number, wver = 1): Make =>
  n => {
    const after = seed(`${table} ${key} ${ver} ${wver}`)
    const write = { origin, event: id(n), action, tenant, table, key, version: ver, wrapVersion: wver, after }
    return {
      v: 1,
      id: id(n),
      time: time(n),
      actor: 'app_user@127.0.0.1',
      conn: 21,
      tenant,
      table,
      action,
      key,
      ver,
      wver,
      scheme: `${table}/1`,
      before: action === 'create' ? null : toHex(seed(`${table} ${key} before ${ver} ${wver}`)),
      after: toHex(after),
      sig: toBase64(signWrite(writerSecret, write)),
      signer,
      data: null,
    }
  }

const key: AnchorKey = { name: origin, ed25519: seed('ed25519'), mldsa44: seed('mldsa44') }
const nextKey: AnchorKey = { name: origin, ed25519: seed('next ed25519'), mldsa44: seed('next mldsa44') }

/** As signCheckpoint, but without the randomness that ML-DSA adds. */
function checkpointOf(head: TreeHead, keys: AnchorKey[], timestamp: number): string {
  const text = formatTreeHead(head)
  return formatNote({
    text,
    signatures: keys.flatMap(pair => {
      const { secretKey } = ml_dsa44.keygen(pair.mldsa44)
      const lasting = ml_dsa44.sign(cosignedMessage(pair.name, head, timestamp), secretKey, {
        extraEntropy: false,
      })
      const ids = publicKeys(pair)
      return [
        { name: pair.name, keyId: ids.ed25519.keyId, signature: ed25519.sign(utf8(text), pair.ed25519) },
        { name: pair.name, keyId: ids.mldsa44.keyId, signature: concat(u64(timestamp), lasting) },
      ]
    }),
  })
}

const fingerprint = toHex(seed('fingerprint'))
const user = id(900)
const account = id(901)

function makeTrail() {
  const frontier = new Frontier()
  let head = genesisHash(origin)
  let previous = noPredecessor
  const events: { seq: number; prev: string; payload: string; curr: string; leaf: string; root: string }[] =
    []
  const anchors: { name: string; keys: number; object: string; sha256: string; syslog: string }[] = []

  const add = (make: Make) => {
    const payload = formatEvent(make(events.length))
    const prev = head
    head = linkHash(prev, payload)
    frontier.append(leafHash(payload))
    events.push({
      seq: events.length,
      prev: toHex(prev),
      payload: fromUtf8(payload, 'payload'),
      curr: toHex(head),
      leaf: toHex(leafHash(payload)),
      root: toHex(frontier.root()),
    })
  }
  const anchor = (keys: AnchorKey[]) => {
    const number = anchors.length + 1
    add(server('anchor', { number, fingerprint, prev: previous }))
    const timestamp = 1767323045 + 60 * number
    const bytes = formatAnchor({
      v: 1,
      origin,
      number,
      size: frontier.size,
      head: toHex(head),
      fingerprint,
      prev: previous,
      time: `${new Date(timestamp * 1000).toISOString().slice(0, 19)}.000000Z`,
      checkpoint: checkpointOf({ origin, size: frontier.size, root: frontier.root() }, keys, timestamp),
    })
    previous = anchorHash(bytes)
    const syslog = formatAnchorSyslog(bytes, { host: 'db1', pid: 4242 })
    anchors.push({
      name: anchorName(number),
      keys: keys.length,
      object: fromUtf8(bytes, 'anchor'),
      sha256: previous,
      syslog,
    })
  }

  add(server('genesis', { origin }))
  add(server('migration', { name: '001_create_base.sql', sha256: toHex(seed('migration')) }))
  add(server('schema', { release: '0.1.0', fingerprint }))
  anchor([key])
  add(row('create', 'users', user, 1))
  add(row('create', 'accounts', account, 1))
  add(row('update', 'users', user, 2))
  add(row('rewrap', 'users', user, 2, 2))
  anchor([key])
  add(row('update', 'accounts', account, 2))
  add(row('erase', 'users', user, 3))
  add(row('retire', 'data_keys', id(902), 2))
  add(server('nonce', { nonce: toHex(seed('nonce')) }))
  anchor([key, nextKey])
  add(server('manifest', { digest: toHex(seed('manifest')) }))
  anchor([nextKey])
  // not anchored: what the trail of a server says after an upgrade, and after it was restored
  add(server('server', { mysql: '9.7.5-1', digest: toHex(seed('plugins')), announced: true, until: null }))
  const last = anchors.length
  add(
    server('restore', {
      number: last,
      sha256: previous,
      size: events.length - 1,
      from: events.length,
      head: events.at(-1)?.curr ?? '',
      backup: toHex(seed('backup')),
    }),
  )
  return { events, anchors }
}

const pair = (k: AnchorKey, from: number, until: number | null) => {
  const { ed25519: classic, mldsa44 } = publicKeys(k)
  return {
    ed25519Seed: toBase64(k.ed25519),
    mldsa44Seed: toBase64(k.mldsa44),
    ed25519: formatVkey(classic),
    mldsa44: formatVkey(mldsa44),
    from,
    until,
  }
}

/** The two files by name. */
export function auditVectors(): Record<string, unknown> {
  const { events, anchors } = makeTrail()
  const receipt = events.find(e => e.payload.includes('"action":"update"'))?.payload ?? ''
  return {
    'audit-trail.json': {
      source: `SPEC 4.1 to 4.4, 4.8; made by ${generator}`,
      origin,
      genesis: toHex(genesisHash(origin)),
      writer: { publicKey: toBase64(writerPublic), signer },
      events,
      receipt: formatReceipt({ origin, payload: utf8(receipt) }),
    },
    'audit-anchor.json': {
      source: `SPEC 4.5, 4.6; made by ${generator} over audit-trail.json`,
      origin,
      logKeys: [pair(key, 1, 3), pair(nextKey, 3, null)],
      anchors,
    },
  }
}

if (import.meta.main)
  for (const [name, value] of Object.entries(auditVectors()))
    await Bun.write(join(import.meta.dir, name), `${JSON.stringify(value, null, 2)}\n`)
