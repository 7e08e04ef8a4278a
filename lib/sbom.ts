/** The parts of the tool that runs: the lockfile that it was built from is embedded in it. */
import lock from '../bun.lock' with { type: 'text' }
import manifest from '../package.json' with { type: 'json' }
import { formatSbom } from './core/sbom.ts'
import { commit, version } from './version.ts'

export const sbom = (): string =>
  formatSbom({
    name: manifest.name,
    version,
    commit,
    license: manifest.license,
    bun: manifest.engines.bun,
    dependencies: manifest.dependencies,
    lock: String(lock),
  })
