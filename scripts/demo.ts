/**
 * demo: the whole story on real parts, from PKI to an offline verdict, and two attacks by root that are named.
 * Exit 0 only if everything was as it should be.
 */
import { dirname, resolve } from 'node:path'
import { command, onExit, print, runMain, say } from '../lib/cli.ts'
import { ZtError } from '../lib/core/errors.ts'

const root = resolve(dirname(Bun.fileURLToPath(import.meta.url)), '..')

interface Options {
  keep?: boolean
  stop?: boolean
  dir?: string
}

const main = command('demo', 'Run the whole story: PKI, install, encrypt, audit, proof, offline verdict.', [
  'bun run demo',
  'bun run demo --keep --dir /tmp/zt',
  'bun run demo --stop --dir /tmp/zt',
])
  .option('--keep', 'leave the instance running, with an anchor every minute')
  .option('--stop', 'end the instance in --dir')
  .option('--dir <dir>', 'folder of the instance: absent or empty at the start')
  .action(async ({ keep = false, stop = false, dir }: Options) => {
    if ((keep || stop) && dir === undefined)
      throw new ZtError('USAGE', '--keep and --stop need --dir', { hint: 'name the folder of the instance' })
    if (stop) {
      const { stopAll } = await import('../lib/edge/demo/instance.ts')
      await stopAll(resolve(dir ?? ''))
      say(`demo: the instance in ${dir} is stopped; its files are still there`)
      return
    }
    const { build, targets } = await import('../lib/edge/build.ts')
    await build({ root, targets, say })
    const { demoFolder } = await import('../lib/edge/demo/folder.ts')
    const { narrator } = await import('../lib/narrator.ts')
    const { tellStory } = await import('../lib/edge/demo/story.ts')
    const folder = demoFolder(dir)
    const forget = onExit(folder.remove)
    const { instance, matrix } = await tellStory(narrator(), { dir: folder.path, keep, root })
    print(matrix)
    if (!keep) return
    forget()
    print(`${folder.path}/instance.json`)
    say(
      `demo: running on 127.0.0.1:${instance.mysql.port}; end it with: bun run demo --stop --dir ${folder.path}`,
    )
  })

if (import.meta.main) await runMain(main)
