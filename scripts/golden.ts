/** Regenerates sql/golden.json: what the release's schema looks like on a fresh server. Run it after any change of sql/. */
import { join } from 'node:path'
import { command, print, runMain } from '../lib/cli.ts'

async function golden(): Promise<void> {
  const { startMysqld } = await import('../lib/edge/mysqld.ts')
  const { openMysql } = await import('../lib/edge/mysql.ts')
  const { applySchema } = await import('../lib/edge/schema.ts')
  const { readGolden } = await import('../lib/edge/golden.ts')
  const { writeFileAtomic } = await import('../lib/edge/files.ts')
  await using server = await startMysqld()
  const root = await openMysql({ socket: server.socket, user: 'root' })
  await applySchema(root, { origin: 'ztmysql.local/0000000000000000' })
  const found = await readGolden(root)
  await root.close()
  const path = join(import.meta.dirname, '../sql/golden.json')
  writeFileAtomic(path, `${JSON.stringify(found, null, 2)}\n`, 0o644)
  print(`${path}: ${found.fingerprint}`)
}

const main = command('golden', 'write sql/golden.json from a fresh server').action(golden)

if (import.meta.main) await runMain(main)
