/** What root can try against whoever judges: a server that stands still, a base and an archive of another past. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { signCheckpoint } from '../../lib/core/audit/checkpoint.ts'
import { inclusionProof, leafHash, treeRoot } from '../../lib/core/audit/merkle.ts'
import { formatTlogProof } from '../../lib/core/audit/tlog_proof.ts'
import { checkProofFile } from '../../lib/edge/prove.ts'
import { judgeTrail } from '../../lib/edge/verify.ts'
import { type Attacked, attacked } from '../support/attacked.ts'

setDefaultTimeout(120_000)

let a: Attacked
let dir: string

beforeAll(async () => {
  a = await attacked()
  dir = mkdtempSync(join(tmpdir(), 'zt-verifier-'))
}, 300_000)

afterAll(() => rmSync(dir, { recursive: true, force: true }))

const judging = () => ({
  trust: a.live.at('pki', 'trust'),
  anchors: a.live.at('auditor'),
  signatures: 'last' as const,
  gapSeconds: 86_400,
})
const nobody = () => undefined

test('a view that sleeps in the place of the trail: no verdict, and no waiting for ever', async () => {
  const { root } = a.shell
  try {
    await root.run('RENAME TABLE securedb.audit_events TO securedb.hidden_events')
    await root.run(
      'CREATE VIEW securedb.audit_events AS SELECT seq, tenant_id, evt_id, prev_hash, payload, curr_hash FROM securedb.hidden_events WHERE SLEEP(1000) = 0',
    )
    const judged = judgeTrail({ ...judging(), socket: a.live.server.socket, idle: 2 }, nobody)
    await expect(judged).rejects.toMatchObject({ code: 'UNREACHABLE' })
  } finally {
    // the server sleeps on after its client has gone, and holds the name
    for (const { id } of await root.query(
      "SELECT PROCESSLIST_ID AS id FROM performance_schema.threads WHERE PROCESSLIST_INFO LIKE 'SELECT seq, tenant_id%' AND PROCESSLIST_ID <> CONNECTION_ID()",
    ))
      await root.run(`KILL ${id}`)
    await root.run('DROP VIEW IF EXISTS securedb.audit_events')
    await root.run('RENAME TABLE securedb.hidden_events TO securedb.audit_events')
  }
})

test('every row deleted at once: each is named, and no more rows are held than a pass may hold', () =>
  a.exposes(
    async () => {
      for (const table of ['accounts', 'users']) await a.shell.silently(`DELETE FROM securedb.${table}`)
      return [
        `ROW_MISSING users ${a.people.ada}`,
        `ROW_MISSING users ${a.people.grace}`,
        `ROW_MISSING accounts ${a.account}`,
      ]
    },
    { options: () => ({ rowsPerPass: 1 }) },
  ))

test('a proof under a checkpoint that the stolen key signed over another past: by the copy of the store', async () => {
  const payload = await a.middlePayload()
  const leaves = [leafHash(payload), leafHash(new Uint8Array(3))]
  const head = { origin: a.origin, size: 2, root: treeRoot(leaves) }
  const checkpoint = signCheckpoint(head, [a.shell.stolenKey()], Math.floor(Date.now() / 1000))
  const path = join(dir, 'forged.tlog-proof')
  writeFileSync(path, formatTlogProof({ index: 0, path: inclusionProof(leaves, 0), checkpoint }))
  // without a copy or a witness it holds: whoever has the log's keys can sign any past
  expect((await checkProofFile(path, [payload], { trust: judging().trust })).index).toBe(0)
  const held = checkProofFile(path, [payload], { trust: judging().trust, anchors: judging().anchors })
  await expect(held).rejects.toMatchObject({ code: 'VERIFY_FAILED' })
})

test('a base whose hashes are of another past is refused', async () => {
  const saved = join(dir, 'base')
  const verdict = await judgeTrail({ ...judging(), socket: a.live.server.socket, saveBase: saved }, nobody)
  expect(verdict.ok).toBe(true)
  const forged = join(dir, 'forged')
  writeFileSync(
    forged,
    readFileSync(saved, 'utf8')
      .replace(/"head":"./, '"head":"f')
      .replace(/"frontier":\["./, '"frontier":["f'),
  )
  for (const [since, ok] of [
    [saved, true],
    [forged, false],
  ] as const) {
    const judged = judgeTrail({ ...judging(), socket: a.live.server.socket, since }, nobody)
    if (ok) expect((await judged).ok).toBe(true)
    else await expect(judged).rejects.toMatchObject({ code: 'VERIFY_FAILED' })
  }
})

test('what was undone verifies again, under another anchor', () => a.isStillHonest())
