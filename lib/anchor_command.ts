/** The anchor's command line, for anchor_head and for a binary that serves as it. */
import { type Command, command, Option, print, say, wholeNumber } from './cli.ts'
import { reason, ZtError } from './core/errors.ts'
import type { Anchored } from './edge/anchor.ts'
import type { AnchorSettings } from './edge/anchor_service.ts'

interface Options extends Omit<AnchorSettings, 'key' | 'waitSeconds' | 'worm'> {
  worm?: string
  key?: string
  json?: boolean
  every: string
  wait: string
}

const stateDefault = '/var/lib/ztmysql/anchor'
const socketDefault = '/run/mysqld/mysqld.sock'

function databaseOptions(cmd: Command): Command {
  return cmd
    .addOption(
      new Option('--socket <path>', `unix socket of the server (default: ${socketDefault})`).env(
        'MYSQL_SOCKET',
      ),
    )
    .addOption(new Option('--defaults-file <file>', 'a MySQL option file instead').env('ZT_DEFAULTS_FILE'))
    .option('--user <name>', 'MySQL user (default on the socket: anchor)')
    .addOption(new Option('--state <dir>', 'spool and frontier').env('ANCHOR_STATE').default(stateDefault))
    .addOption(new Option('--worm <dir>', 'the store that keeps the anchors').env('WORM_DIR'))
    .option('--json', 'print JSON')
}

function anchorOptions(cmd: Command): Command {
  return databaseOptions(cmd)
    .addOption(
      new Option('--key <file>', 'signing keys (default: anchor_key.json in the state folder)').env(
        'ANCHOR_KEY',
      ),
    )
    .addOption(
      new Option('--old-key <file>', 'at a rotation, for one run: the keys that signed until now').env(
        'ANCHOR_OLD_KEY',
      ),
    )
    .addOption(
      new Option(
        '--syslog <target>',
        'socket path, udp://ADDRESS:PORT or none (default: /dev/log if it exists)',
      ).env('ANCHOR_SYSLOG'),
    )
    .addOption(
      new Option('--ship <dir>', 'folder for lines that rsyslog sends to a log host').env('ANCHOR_SHIP'),
    )
    .option('--wait <seconds>', 'how long to wait for another run to end', '15')
}

/** As the account of the service, whoever of the two starts it. */
async function service() {
  return { ...(await import('./edge/anchor_service.ts')), ...(await import('./edge/become_owner.ts')) }
}

async function settings(options: Options): Promise<AnchorSettings> {
  const { every: _every, json: _json, wait, key, ...given } = options
  const rest = await withPlaces(given)
  const { worm } = rest
  if (worm === undefined)
    throw new ZtError('USAGE', 'no store given', { hint: 'name it with --worm or WORM_DIR' })
  return {
    ...withSocket(rest),
    worm,
    key: key ?? `${rest.state}/anchor_key.json`,
    waitSeconds: wholeNumber('--wait', wait, 0),
  }
}

/** Where no store is named, that of the host that vm_oneclick set up, and what goes with it. */
async function withPlaces<T extends { worm?: string; ship?: string }>(given: T): Promise<T> {
  if (given.worm !== undefined) return given
  const { anchorPlaces } = await import('./edge/host/anchor_places.ts')
  return { ...given, ...anchorPlaces() }
}

function withSocket<T extends { socket?: string; defaultsFile?: string }>(given: T): T {
  return given.socket === undefined && given.defaultsFile === undefined
    ? { ...given, socket: socketDefault }
    : given
}

function report(anchors: Anchored[], worm: string, json: boolean | undefined): void {
  for (const anchor of anchors)
    print(
      json
        ? JSON.stringify(anchor)
        : `anchor ${anchor.number}: ${anchor.size} events, head ${anchor.head}, ${anchor.name} ${anchor.stored === 'created' ? 'stored' : 'was stored'} in ${worm}`,
    )
}

const warning = (program: string) => (text: string) => say(`${program}: warning: ${text}`)

async function once(options: Options, program: string): Promise<void> {
  const { anchorNow, becomeOwner } = await service()
  const given = await settings(options)
  becomeOwner(given.state)
  report(await anchorNow(given, { onWarning: warning(program) }), given.worm, options.json)
}

async function now(options: Options, program: string): Promise<void> {
  const { anchorNow, anchorStanding, becomeOwner } = await service()
  const { gateText } = await import('./core/anchor_text.ts')
  const given = await settings(options)
  becomeOwner(given.state)
  const before = await anchorStanding(given)
  say(`gate before: ${gateText(before.gate, before.confirmedNumber, program)}`)
  report(await anchorNow(given, { onWarning: warning(program) }), given.worm, options.json)
  const after = await anchorStanding(given)
  const gate = gateText(after.gate, after.confirmedNumber, program)
  say(`gate after: ${gate}`)
  if (after.gate !== null)
    throw new ZtError('REFUSED', `anchored, but the gate is still ${gate}`, {
      hint: 'see that the event scheduler of the database runs and that its clock is right',
    })
}

async function status(options: Options, program: string): Promise<void> {
  const { anchorStanding, becomeOwner } = await service()
  const { standingText } = await import('./core/anchor_text.ts')
  const given = await withPlaces(options) // before the account changes: the record is root's
  becomeOwner(options.state)
  const standing = await anchorStanding(withSocket(given))
  print(options.json ? JSON.stringify(standing) : standingText(standing, Date.now(), program))
  if (standing.gate !== null)
    throw new ZtError('REFUSED', 'the gate is closed: writes are refused', {
      hint: `run ${program} now`,
    })
}

async function loop(options: Options, program: string): Promise<never> {
  const { anchorNow, becomeOwner } = await service()
  const given = await settings(options)
  becomeOwner(given.state)
  const seconds = wholeNumber('--every', options.every)
  for (;;) {
    const next = Date.now() + seconds * 1000
    try {
      report(await anchorNow(given, { onWarning: warning(program) }), given.worm, options.json)
    } catch (thrown) {
      // the next turn may find the server or the store back; what must not go on is stopped in the run itself
      say(`${program}: error: ${reason(thrown)}`)
      if (thrown instanceof ZtError && thrown.hint) say(`hint: ${thrown.hint}`)
    }
    await new Promise(done => setTimeout(done, Math.max(0, next - Date.now())))
  }
}

/** `anchor_head [now|loop|status]`. @param program how a person calls it */
export function anchorCommand(name = 'anchor_head', program = name): Command {
  const cmd = command(
    name,
    'Anchor the audit trail: seal, sign the head, put it into the store, confirm it to the database.',
    [
      `${program} --worm /mnt/worm`,
      `${program} now --worm /mnt/worm`,
      `${program} loop --every 60 --worm worm --socket mysqld.sock --key anchor_key.json --state state`,
      `${program} status --json`,
    ],
  ).addHelpText(
    'after',
    `
Started by root, it goes on as the account that owns the state folder.

Exit codes:
  0  anchored, and the store has it
  1  the trail does not extend the last anchor, another object has the name, or the gate is still closed
  2  wrong usage
  3  could not run: database, store, key or disk out of reach. Run it again: it goes on where it stopped`,
  )
  anchorOptions(cmd.command('run', { isDefault: true }))
    .description('anchor once: what the timer calls (the default)')
    .action((options: Options) => once(options, program))
  anchorOptions(cmd.command('now'))
    .description('anchor once and say how the gate stands: the way out of a closed one')
    .action((options: Options) => now(options, program))
  anchorOptions(cmd.command('loop'))
    .description('anchor again and again, for development')
    .option('--every <seconds>', 'from start to start', '60')
    .action((options: Options) => loop(options, program))
  databaseOptions(cmd.command('status'))
    .description('say how things stand; exit 1 where the gate is closed')
    .action((options: Options) => status(options, program))
  return cmd
}
