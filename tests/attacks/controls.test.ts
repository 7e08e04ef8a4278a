/**
 * Every control that applies off a real host is green, then what it guards is broken for real, a bundle is collected
 * and judged offline, and that control turns red: with it only what depends on it, or what the same change breaks.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { anchorName } from '../../lib/core/audit/anchor.ts'
import { fromUtf8, random, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { controls } from '../../lib/core/controls/index.ts'
import { issuerOf, issuerPublicKey, signIssue } from '../../lib/core/envelope/issuer.ts'
import { formatManifest } from '../../lib/core/proof/bundle.ts'
import { parseObservation } from '../../lib/core/proof/observation.ts'
import { packArchive, unpackArchive } from '../../lib/edge/archive.ts'
import type { CollectOptions } from '../../lib/edge/proof.ts'
import { type Attacked, attacked } from '../support/attacked.ts'
import { dataKeyRow, userRow } from '../support/live.ts'
import { text } from '../support/root_shell.ts'

setDefaultTimeout(120_000)

let a: Attacked
const probe = "'probe_a'@'127.0.0.1'"
const run = (sql: string, params?: Parameters<typeof a.shell.root.run>[1]) => a.shell.root.run(sql, params)
const canary = 'Ada Example of 1 Example Street'

beforeAll(async () => {
  a = await attacked()
  await run('SET GLOBAL sync_binlog = 1')
  await run('SET GLOBAL innodb_flush_log_at_trx_commit = 1')
}, 300_000)

afterAll(async () => {
  await run('SET GLOBAL sync_binlog = 0')
  await run('SET GLOBAL innodb_flush_log_at_trx_commit = 0')
})

type Statuses = Record<string, string>

const judged = async (bundle: string, anchors = a.live.at('worm')): Promise<Statuses> => {
  const verdict = await a.live.judge(bundle, { anchors })
  return Object.fromEntries(verdict.judged.map(({ control, status }) => [control.id, status]))
}

/** This machine is no host of ours, and nothing is wrapped by the hybrid suite. */
const absent = [
  'data.hybrid-wrap',
  'host.firewall',
  'host.intrusion',
  'host.kernel',
  'host.updates',
  'host.services',
  'host.files',
  'host.process',
  'host.confinement',
  'host.fips',
  'host.scan',
  ...controls.flatMap(({ id, layer }) => (layer === 'google' ? [id] : [])),
]
const green = (more: Statuses = {}): Statuses => ({
  ...Object.fromEntries(controls.map(({ id }) => [id, absent.includes(id) ? 'not-applicable' : 'pass'])),
  'data.canary-absent': 'not-applicable',
  ...more,
})

interface Sabotage {
  act: () => Promise<unknown>
  undo?: () => Promise<unknown>
  /** What else the same change breaks, though no claim rests on the other. */
  also?: string[]
  /** `error` where the probe itself can no longer run. */
  status?: 'fail' | 'error'
  collect?: Partial<CollectOptions>
}

const setting = (name: string, bad: string, good: string, reload = false): Sabotage => {
  const set = async (value: string) => {
    await run(`SET GLOBAL ${name} = ?`, [value])
    if (reload) await run('ALTER INSTANCE RELOAD TLS')
  }
  return { act: () => set(bad), undo: () => set(good), also: ['host.settings'] }
}

/** The clause that ties the account to its certificate. */
async function requirement(clause: string): Promise<() => Promise<unknown>> {
  const [row] = await a.shell.root.query(
    "SELECT CONVERT(x509_subject USING utf8mb4) AS subject, CONVERT(x509_issuer USING utf8mb4) AS issuer FROM mysql.user WHERE user = 'probe_a'",
  )
  await run(`ALTER USER ${probe} REQUIRE ${clause}`)
  return () =>
    run(`ALTER USER ${probe} REQUIRE SUBJECT ? AND ISSUER ?`, [String(row?.subject), String(row?.issuer)])
}

let undoRequirement: () => Promise<unknown> = async () => undefined
const require = (clause: string, also: string[]): Sabotage => ({
  act: async () => {
    undoRequirement = await requirement(clause)
  },
  undo: () => undoRequirement(),
  also,
})

const suites = 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'

let currentTenant = ''
async function replaceCurrentTenant(sql: string): Promise<void> {
  await run('DROP FUNCTION securedb.current_tenant')
  await run(sql)
  for (const account of ['app_user', 'globex_app', 'probe_a', 'probe_b'])
    await run(`GRANT EXECUTE ON FUNCTION securedb.current_tenant TO '${account}'@'127.0.0.1'`)
}

const sabotages: Record<string, Sabotage> = {
  'network.tls-enforced': {
    act: async () => {
      await run('SET GLOBAL require_secure_transport = OFF')
      undoRequirement = await requirement('NONE')
    },
    undo: async () => {
      await run('SET GLOBAL require_secure_transport = ON')
      await undoRequirement()
    },
    also: [
      'network.mutual-authentication',
      'identity.certificate-binding',
      'identity.accounts-bound',
      'host.settings',
    ],
  },
  'network.tls-1.3': setting('tls_version', 'TLSv1.2,TLSv1.3', 'TLSv1.3', true),
  'network.suites': setting('tls_ciphersuites', `${suites}:TLS_AES_128_GCM_SHA256`, suites, true),
  'network.mutual-authentication': require('NONE', [
    'identity.certificate-binding',
    'identity.accounts-bound',
  ]),
  'identity.certificate-binding': require('X509', ['identity.accounts-bound']),
  'identity.accounts-bound': {
    act: () => run("CREATE USER 'x'@'%' IDENTIFIED BY 'not in the trust folder'"),
    undo: () => run("DROP USER 'x'@'%'"),
  },
  'identity.rights': {
    act: () => run("GRANT SELECT ON securedb.users TO 'app_user'@'127.0.0.1'"),
    undo: () => run("REVOKE SELECT ON securedb.users FROM 'app_user'@'127.0.0.1'"),
  },
  'writes.procedures-only': {
    act: () => run(`GRANT INSERT ON securedb.users TO ${probe}`),
    undo: () => run(`REVOKE INSERT ON securedb.users FROM ${probe}`),
    also: ['identity.rights'],
  },
  'writes.procedure-path': {
    act: () => run(`REVOKE EXECUTE ON PROCEDURE securedb.app_create_user_encrypted FROM ${probe}`),
    undo: () => run(`GRANT EXECUTE ON PROCEDURE securedb.app_create_user_encrypted TO ${probe}`),
    also: ['identity.rights'],
    status: 'error',
  },
  'writes.tenant-context': {
    act: async () => {
      const [shown] = await a.shell.root.query('SHOW CREATE FUNCTION securedb.current_tenant')
      currentTenant = String(shown?.['Create Function'])
      await replaceCurrentTenant(
        `CREATE DEFINER=api_definer@localhost FUNCTION securedb.current_tenant() RETURNS BINARY(16) READS SQL DATA DETERMINISTIC
          RETURN (SELECT g.tenant_id FROM securedb.tenant_grant g WHERE g.account = SUBSTRING_INDEX(SESSION_USER(), '@', 1) LIMIT 1)`,
      )
    },
    undo: () => replaceCurrentTenant(currentTenant),
    also: ['audit.schema'],
  },
  'writes.tenant-isolation': {
    act: async () => {
      const [found] = await a.shell.root.query(
        "SELECT BIN_TO_UUID(tenant_id) AS id FROM securedb.tenant_grant WHERE account = 'probe_b'",
      )
      const row = { tenant_id: String(found?.id), account: 'probe_a', version: 1, wrap_version: 1 }
      await a.order('tenant_grant', 'create', { ...row, state: 'active', salt: random(16) })
    },
  },
  'data.ciphertext-only': {
    act: () => a.live.write(a.acme, 'users', 'create', userRow(a.acme, { full_name: utf8(canary) })),
  },
  'data.canary-absent': {
    act: async () => {
      await run('CREATE TABLE zt_saved.notes (note VARCHAR(100))')
      await run('INSERT INTO zt_saved.notes VALUES (?)', [canary])
    },
    undo: () => run('DROP TABLE zt_saved.notes'),
    collect: { canary },
  },
  'data.wrapped-keys': {
    act: () => {
      const row = dataKeyRow(a.acme)
      const name = { tenant: a.acme.id, id: String(row.id), purpose: 'record' }
      const seed = random(32)
      const commit = row.dek_commit as Uint8Array
      const issuer_sig = signIssue(
        seed,
        name,
        random(32)
          .fill(0)
          .map((_, i) => commit[i] ?? 0),
      )
      return a.live.write(a.acme, 'data_keys', 'create', {
        ...row,
        issuer: issuerOf(issuerPublicKey(seed)),
        issuer_sig,
      })
    },
  },
  'data.hybrid-wrap': {
    act: () =>
      a.live.write(a.acme, 'data_keys', 'create', {
        ...dataKeyRow(a.acme),
        suite: 'kms+ml-kem-768',
        kem_ciphertext: random(1088),
        kem_fingerprint: random(32),
      }),
  },
  'audit.append-only': {
    act: () => run('DROP TRIGGER securedb.audit_events_no_delete'),
    undo: () => a.shell.makeTriggers(['audit_events']),
    also: ['audit.schema'],
  },
  'audit.chain': {
    act: async () =>
      a.shell.silently(
        "UPDATE securedb.audit_events SET payload = REPLACE(payload, '@127.0.0.1', '@127.0.0.2') WHERE seq = ?",
        [await a.middle()],
      ),
    also: ['audit.anchored'],
  },
  'audit.anchored': {
    act: async () => {
      const seq = await a.middle()
      const events = (await a.shell.events()).map((event, i) =>
        i === seq
          ? { ...event, payload: utf8(text(event.payload).replace('@127.0.0.1', '@127.0.0.2')) }
          : event,
      )
      await a.shell.rewrite(events)
    },
  },
  'audit.state': {
    act: () =>
      a.shell.silently("UPDATE securedb.users SET role = 'admin' WHERE id = ?", [uuidBytes(a.people.ada)]),
  },
  'audit.signatures': {
    act: () =>
      run(
        "UPDATE securedb.users SET role = 'admin', version = version + 1, wrap_version = 1, evt_id = RANDOM_BYTES(16) WHERE id = ?",
        [uuidBytes(a.people.bob)],
      ),
  },
  'audit.schema': {
    act: () => run('CREATE PROCEDURE securedb.harmless() SELECT 1'),
    undo: () => run('DROP PROCEDURE securedb.harmless'),
  },
  'host.databases': {
    act: () => run('CREATE DATABASE test'),
    undo: () => run('DROP DATABASE test'),
  },
  'host.settings': { ...setting('local_infile', 'ON', 'OFF'), also: [] },
}

/** Judged red elsewhere in this file, or from observations in tests/core/controls.test.ts. */
const elsewhere = [
  'network.server-identity',
  'audit.heartbeat',
  'audit.bracketed',
  // of the layer google: tests/core/google_evidence.test.ts
  ...absent.filter(id => id.startsWith('host.') || id.startsWith('google.')),
]

test('every control has its sabotage', () => {
  expect([...Object.keys(sabotages), ...elsewhere].sort()).toEqual(controls.map(c => c.id).sort())
})

/** Controls whose claim rests on `id`, however far. */
function dependents(id: string): string[] {
  const direct = controls.filter(control => control.dependsOn.includes(id)).map(control => control.id)
  return [...direct, ...direct.flatMap(dependents)]
}

const collect = (options: Partial<CollectOptions> = {}): Promise<string> => a.live.collect(options)

describe('a bundle of a sound deployment', () => {
  let bundle: string
  beforeAll(async () => {
    bundle = a.live.at('sound.tar.gz')
    await collect({ out: bundle, canary })
    cpSync(a.live.at('worm'), a.live.at('sound-worm'), { recursive: true, preserveTimestamps: true })
    await a.shell.rollback()
  }, 120_000)
  const anchors = () => a.live.at('sound-worm')

  test('is green wherever the claim applies', async () => {
    expect(await judged(bundle, anchors())).toEqual(green({ 'data.canary-absent': 'pass' }))
  })

  test('turns audit.heartbeat red without one anchor of the copy', async () => {
    const fewer = a.live.at('fewer-worm')
    cpSync(anchors(), fewer, { recursive: true, preserveTimestamps: true })
    rmSync(`${fewer}/${anchorName(2)}`)
    expect(await judged(bundle, fewer)).toEqual(
      green({ 'data.canary-absent': 'pass', 'audit.heartbeat': 'fail' }),
    )
  })

  test('turns audit.bracketed red when an observation is edited and the manifest made to fit', async () => {
    const files = await unpackArchive(readFileSync(bundle), 'bundle', 1 << 28)
    const name = 'observations/tls12.json'
    const observation = parseObservation(files.get(name) ?? random(1), name)
    const edited = utf8(
      fromUtf8(files.get(name) ?? random(1), name).replace(observation.identity, 'somebody else'),
    )
    const { manifest } = await a.live.judge(bundle, { anchors: anchors() })
    const rest = [...files].filter(([path]) => path !== 'manifest.json' && path !== 'closing.ndjson')
    const inside = new Map([...rest, [name, edited] as const])
    files.set(name, edited)
    files.set('manifest.json', utf8(formatManifest(manifest, inside)))
    const forged = a.live.at('forged.tar.gz')
    writeFileSync(forged, await packArchive(files, 0o644))
    expect(await judged(forged, anchors())).toEqual(
      green({ 'data.canary-absent': 'pass', 'audit.bracketed': 'fail' }),
    )
  })

  test('answers the nonce that was asked for, and no other', async () => {
    const { manifest } = await a.live.judge(bundle, { anchors: anchors() })
    const same = await a.live.judge(bundle, { anchors: anchors(), nonce: manifest.nonce })
    const other = await a.live.judge(bundle, { anchors: anchors(), nonce: 'ab'.repeat(32) })
    expect([same.ok, other.ok]).toEqual([true, false])
    expect(other.judged.find(one => one.status === 'fail')?.reason).toContain('the auditor asked for abab')
  })

  test('does not stand without its closing anchor', async () => {
    const { lastAnchor } = (await a.live.judge(bundle, { anchors: anchors() })).trail
    const early = a.live.at('early-worm')
    cpSync(anchors(), early, { recursive: true, preserveTimestamps: true })
    rmSync(`${early}/${anchorName(lastAnchor)}`)
    const statuses = await judged(bundle, early)
    expect(statuses['audit.bracketed']).toBe('fail')
  })
})

describe('sabotage turns red:', () => {
  for (const [id, { act, undo, also = [], status = 'fail', collect: options = {} }] of Object.entries(
    sabotages,
  ))
    test(id, async () => {
      try {
        await act()
        const statuses = await judged(await collect(options))
        expect(statuses[id]).toBe(status)
        const sound = green(options.canary === undefined ? {} : { 'data.canary-absent': 'pass' })
        const allowed = [id, ...dependents(id), ...also]
        const red = Object.keys(statuses).filter(name => statuses[name] !== sound[name])
        expect(red.filter(name => !allowed.includes(name))).toEqual([])
        // what else the change breaks is seen too, or the exception would hide something
        expect(also.filter(name => !red.includes(name))).toEqual([])
      } finally {
        await undo?.()
        await a.shell.rollback()
      }
    }, 120_000)

  test('network.server-identity: a server with a certificate of another CA gets no word out of the collector', async () => {
    const tls = a.live.at('other-tls')
    cpSync(a.live.at('tls'), tls, { recursive: true })
    const subject = '/O=Zero-Trust MySQL/OU=server/CN=127.0.0.1'
    const made = Bun.spawnSync(
      [
        'openssl',
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '1',
      ]
        .concat(['-subj', subject, '-addext', 'subjectAltName=IP:127.0.0.1'])
        .concat(['-keyout', `${tls}/server-key.pem`, '-out', `${tls}/server-cert.pem`]),
    )
    expect(made.exitCode).toBe(0)
    const use = async (dir: string) => {
      for (const [name, file] of [
        ['ssl_cert', 'server-cert.pem'],
        ['ssl_key', 'server-key.pem'],
      ] as const)
        await run(`SET GLOBAL ${name} = ?`, [`${dir}/${file}`])
      await run('ALTER INSTANCE RELOAD TLS')
    }
    try {
      await use(tls)
      await expect(collect()).rejects.toMatchObject({ code: 'TLS' })
    } finally {
      await use(a.live.at('tls'))
    }
  })
})

test('what was undone is green again', async () => {
  expect(await judged(await collect())).toEqual(green())
  await a.shell.rollback()
}, 120_000)
