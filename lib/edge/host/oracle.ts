/** Oracle's apt repository, added for MySQL alone: its key is fetched, and refused unless it is the one that is known. */
import { readFileSync } from 'node:fs'
import { reason, ZtError } from '../../core/errors.ts'
import { checkOracleKey, oracleRepository, oracleSources, oracleSuite } from '../../core/host/oracle.ts'
import type { Step } from '../../core/plan.ts'
import { describeFile, putDir, putFile } from '../owned_files.ts'
import type { Setup } from './setup.ts'
import { rootFile } from './steps.ts'

const suiteOf = ({ distribution }: Setup): string =>
  oracleSuite(distribution, readFileSync('/etc/os-release', 'utf8'))

/** @throws REFUSED where Oracle has nothing for this system */
export const refuseWithoutOracle = (setup: Setup): void => {
  suiteOf(setup)
}

async function fetchKey(): Promise<string> {
  try {
    const answer = await fetch(oracleRepository.keyUrl, { signal: AbortSignal.timeout(60_000) })
    if (answer.ok) return await answer.text()
    throw new Error(`HTTP ${answer.status}`)
  } catch (thrown) {
    throw new ZtError('UNREACHABLE', `${oracleRepository.keyUrl}: ${reason(thrown)}`, { cause: thrown })
  }
}

export function oracleStep(setup: Setup): Step {
  const { keyPath, sourcesPath, fingerprint } = oracleRepository
  const sources = rootFile(sourcesPath, oracleSources(setup.distribution, suiteOf(setup)))
  return {
    id: 'oracle-repository',
    description:
      "add Oracle's apt repository and the key that it is signed with (not tested by this release)",
    changes: [
      { item: keyPath, before: describeFile(keyPath), after: `key ${fingerprint}` },
      {
        item: sourcesPath,
        before: describeFile(sourcesPath),
        after: String(sources.bytes).split('\n')[2] ?? '',
      },
    ],
    apply: async () => {
      const key = await fetchKey()
      checkOracleKey(key)
      putDir({ path: '/etc/apt/keyrings', mode: 0o755, uid: 0, gid: 0 })
      for (const file of [rootFile(keyPath, key), sources]) {
        setup.journal.keepFile(file.path)
        putFile(file)
      }
    },
  }
}
