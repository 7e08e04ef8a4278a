/** The layers that a host stands on: a bare tree, or the same with the packages installed once by a booted host. */
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { inCache } from '../../lib/edge/mysqld_cache.ts'
import { baseFolder, sid, trixie } from './host_base.ts'
import type { TestHost, Wanted } from './hosts.ts'

/** Trees on each other, the topmost first. */
export interface Layers {
  layers: string[]
}

const installer = { name: 'maker', ip: '10.77.0.250' }

async function install(folder: string, bootHost: (wanted: Wanted) => Promise<TestHost>): Promise<string> {
  const layer = join(folder, 'installed')
  return inCache(folder, 'installs packages on a test host', async () => {
    if (existsSync(layer)) return layer
    const maker = await bootHost({ ...installer, base: { layers: [join(folder, 'tree')] } })
    const command = [
      'apt-get',
      'install',
      '-q',
      '-y',
      '--no-install-recommends',
      '--no-download',
      ...sid.fetch,
    ]
    // Debian's own script for MySQL was seen to fail on a machine with a load of 15; dpkg's answer is to go on
    if ((await maker.exec(...command)).exitCode !== 0) await maker.must('dpkg', '--configure', '-a')
    await maker.must(...command)
    await maker.stop()
    const [taken] = (await maker.snapshot()).layers
    if (taken === undefined) throw new Error('a snapshot has a layer of its own')
    // the maker's own name and logs are nobody else's
    for (const path of ['etc/machine-id', 'etc/hostname', 'var/log/journal'])
      rmSync(join(taken, path), { recursive: true, force: true })
    renameSync(taken, layer)
    return layer
  })
}

export async function baseLayers(
  base: 'stock' | 'installed' | 'trixie',
  bootHost: (wanted: Wanted) => Promise<TestHost>,
): Promise<Layers> {
  const folder = await baseFolder(base === 'trixie' ? trixie : sid)
  const tree = join(folder, 'tree')
  return { layers: base === 'installed' ? [await install(folder, bootHost), tree] : [tree] }
}
