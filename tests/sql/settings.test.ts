import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { isRowEvent, parseEvent } from '../../lib/core/audit/event.ts'
import { random, toBase64, toHex, utf8, uuidBytes } from '../../lib/core/bytes.ts'
import { rowDigest } from '../../lib/core/digest.ts'
import { rowFromDatabase } from '../../lib/core/rows.ts'
import { prepareWrite } from '../../lib/core/write.ts'
import {
  type Deployment,
  procedureCall,
  sharedDeployment,
  type TestTenant,
  userRow,
} from '../support/deployment.ts'
import { refused } from '../support/refused.ts'

setDefaultTimeout(60_000)

let d: Deployment
let tenant: TestTenant

beforeAll(async () => {
  d = await sharedDeployment()
  tenant = d.tenants[0]
})

const settings = [
  'sql_mode = ""',
  'sql_mode = "ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT,NO_UNSIGNED_SUBTRACTION"',
  'sql_mode = "TIME_TRUNCATE_FRACTIONAL,IGNORE_SPACE,REAL_AS_FLOAT"',
  'sql_select_limit = 0',
  'sql_select_limit = 1',
  'sql_safe_updates = 1',
  'sql_big_selects = 0',
  'sql_auto_is_null = 1',
  'sql_buffer_result = 1',
  'sql_notes = 0, sql_warnings = 1',
  'collation_connection = utf8mb4_de_pb_0900_ai_ci',
  'character_set_connection = latin1',
  'character_set_connection = ucs2',
  'collation_database = latin1_swedish_ci',
  'lc_time_names = "de_DE"',
  'group_concat_max_len = 4',
  'max_sort_length = 4',
  'div_precision_increment = 0',
  'default_week_format = 7',
  'timestamp = 1',
  'time_zone = "+13:59"',
  'rand_seed1 = 1, rand_seed2 = 1',
  'insert_id = 7',
  'cte_max_recursion_depth = 1',
  'block_encryption_mode = "aes-256-cbc"',
  'big_tables = 1',
  'tmp_table_size = 1024, max_heap_table_size = 16384',
  'end_markers_in_json = 1',
  'max_execution_time = 1',
  'foreign_key_checks = 0, unique_checks = 0',
  'autocommit = 0',
  'completion_type = 2',
  'transaction_isolation = "SERIALIZABLE"',
  'transaction_read_only = 1',
  'innodb_lock_wait_timeout = 1, lock_wait_timeout = 1',
  'use_secondary_engine = "OFF"',
  'windowing_use_high_precision = 0',
  'max_join_size = 1',
  'profiling = 1',
]

describe('whatever an application says of its session', () => {
  test.each(settings)('a write stores what was sent and its event says so: %s', async setting => {
    const c = await d.connect(tenant.account)
    await c.run(`SET SESSION ${setting}`)
    const def = d.define('users')
    const row = userRow(tenant, { phone: null, phone_bidx: null })
    const write = prepareWrite(def, 'create', row, tenant.by)
    const receipt = await d.write(c, write)
    const event = parseEvent(utf8(receipt))
    if (!isRowEvent(event)) throw new Error('not a row event')
    expect(event).toMatchObject({
      after: toHex(rowDigest(def, row)),
      sig: toBase64(write.signature),
      key: String(row.id),
      before: null,
    })
    expect(Math.abs(Date.parse(event.time) - Date.now())).toBeLessThan(5000)
    const [stored] = await d.root.query('SELECT * FROM users WHERE tenant_id = ? AND id = ?', [
      uuidBytes(tenant.id),
      uuidBytes(String(row.id)),
    ])
    expect(rowFromDatabase(def, stored ?? {})).toEqual(row)
    // And what is refused otherwise is refused.
    const { procedure, params } = procedureCall(prepareWrite(def, 'create', userRow(tenant), tenant.by))
    await refused(c.call(procedure, params.with(-4, random(15))), '1644 45W01')
    await refused(c.call(procedure, params.with(0, uuidBytes(String(row.id)))), '1644 45W05')
    await refused(c.call('security_set_tenant', [d.tenants[1].id]), '1644 45T02')
    await refused(c.call(procedure, params), '1644 45T01')
    c.destroy()
  })

  test.each(['require_row_format = 1'])('fails closed: %s', async setting => {
    const c = await d.connect(tenant.account)
    await c.run(`SET SESSION ${setting}`)
    const { procedure, params } = procedureCall(
      prepareWrite(d.define('users'), 'create', userRow(tenant), tenant.by),
    )
    await expect(c.call(procedure, params)).rejects.toMatchObject({
      sqlState: expect.stringMatching(/^(?:45W00|42000|HY000)$/),
    })
    expect(await d.root.query('SELECT 1 FROM users WHERE id = ?', [params[0] ?? null])).toEqual([])
    c.destroy()
  })
})
