/** `vm_oneclick announce`: says in the trail, ahead of it, that MySQL or its plugins are about to change. */
import { type Command, print, wholeNumber } from './cli.ts'
import { ZtError } from './core/errors.ts'
import type { PlaceFlags } from './edge/host/places.ts'

const dayMinutes = 1440

interface Flags extends PlaceFlags {
  minutes: string
  json?: boolean
}

async function run(flags: Flags): Promise<void> {
  const { placesOf } = await import('./edge/host/places.ts')
  const { announceChange } = await import('./edge/host/versions.ts')
  const minutes = wholeNumber('--minutes', flags.minutes)
  if (minutes > dayMinutes)
    throw new ZtError('USAGE', `--minutes: at most ${dayMinutes}`, {
      hint: 'announce again if it takes longer: what is announced for good is announced for an attacker too',
    })
  const announced = await announceChange(placesOf(flags).socket, minutes)
  if (flags.json) return print(JSON.stringify(announced))
  print(`MySQL ${announced.mysql}: a change within ${minutes} minutes is announced in the trail`)
}

/** @param places adds --socket and --conf-dir */
export function announceCommand(root: Command, places: (cmd: Command) => Command): void {
  places(root.command('announce'))
    .description('before an upgrade: say in the trail that MySQL or its plugins are about to change')
    .option('--minutes <n>', 'how long the announcement holds', '60')
    .option('--json', 'print JSON')
    .action((flags: Flags) => run(flags))
}
