/** From settings to an anchor run: opens database, key, store and system log, and says how things stand. */
import { existsSync } from 'node:fs'
import { anchorName } from '../core/audit/anchor.ts'
import { parseAnchorKey } from '../core/audit/anchor_key.ts'
import type { AnchorKey } from '../core/audit/checkpoint.ts'
import { reason, ZtError } from '../core/errors.ts'
import { type Anchored, type AnchorOptions, runAnchor } from './anchor.ts'
import { type AnchorDatabase, type AnchorStatus, anchorDatabase } from './anchor_database.ts'
import { AnchorState } from './anchor_state.ts'
import { readPrivateFile } from './files.ts'
import { openMysql } from './mysql.ts'
import { openSyslog, type Syslog } from './syslog.ts'
import { openWorm } from './worm.ts'
import { shipping } from './worm_ship.ts'

export interface DatabaseSettings {
  /** Unix socket; with `defaultsFile` that file's server. */
  socket?: string
  defaultsFile?: string
  user?: string
}

export interface AnchorSettings extends DatabaseSettings {
  /** anchor_key.json. */
  key: string
  /** At a rotation: the anchor_key.json that signed until now. */
  oldKey?: string
  worm: string
  /** The folder of lines that rsyslog sends to a log host. */
  ship?: string
  state: string
  /** A target, `none`, or nothing for /dev/log where there is one. */
  syslog?: string
  /** How long to wait for another run to end. */
  waitSeconds?: number
}

export type Hooks = Pick<AnchorOptions, 'onStep' | 'onWarning' | 'now'>

const systemLog = '/dev/log'

function syslogOf(target: string | undefined): Syslog | undefined {
  if (target === undefined) return existsSync(systemLog) ? openSyslog(systemLog) : undefined
  return target === 'none' ? undefined : openSyslog(target)
}

function readKey(path: string): AnchorKey {
  const bytes = readPrivateFile(path, 'anchor key')
  try {
    return parseAnchorKey(bytes, `anchor key ${path}`)
  } finally {
    bytes.fill(0)
  }
}

/** The pairs that sign, the old one first. */
function readKeys({ key, oldKey }: AnchorSettings): [AnchorKey, ...AnchorKey[]] {
  const current = readKey(key)
  if (oldKey === undefined) return [current]
  const old = readKey(oldKey)
  if (old.name !== current.name)
    throw new ZtError('BAD_INPUT', `${oldKey}: belongs to log ${old.name}, ${key} to ${current.name}`)
  return [old, current]
}

export async function withAnchorDatabase<T>(
  { socket, defaultsFile, user }: DatabaseSettings,
  use: (database: AnchorDatabase) => Promise<T>,
): Promise<T> {
  const connection = await openMysql({
    ...(defaultsFile === undefined ? { user: user ?? 'anchor' } : { defaultsFile }),
    ...(socket === undefined ? {} : { socket }),
    ...(user === undefined ? {} : { user }),
  })
  try {
    return await use(anchorDatabase(connection))
  } finally {
    connection.destroy()
  }
}

/** Waits a while for another run to end. What is LOCKED has done nothing yet, so that trying again is safe. */
async function whenFree<T>(waitSeconds: number, run: () => Promise<T>): Promise<T> {
  const until = Date.now() + waitSeconds * 1000
  for (;;)
    try {
      return await run()
    } catch (thrown) {
      if (!(thrown instanceof ZtError) || thrown.code !== 'LOCKED' || Date.now() >= until) throw thrown
      await new Promise(done => setTimeout(done, 100))
    }
}

/** One run. @throws as runAnchor, openMysql, and what reading the key throws */
export async function anchorNow(settings: AnchorSettings, hooks: Hooks = {}): Promise<Anchored[]> {
  const keys = readKeys(settings)
  const store = openWorm(settings.worm)
  const worm = settings.ship === undefined ? store : shipping(store, settings.ship)
  const syslog = syslogOf(settings.syslog)
  const state = new AnchorState(settings.state)
  return withAnchorDatabase(settings, database =>
    whenFree(settings.waitSeconds ?? 0, () =>
      runAnchor({ database, state, worm, keys, ...(syslog ? { syslog } : {}), ...hooks }),
    ),
  )
}

export interface Standing extends AnchorStatus {
  /** Numbers of signed anchors that the database has not confirmed. */
  outstanding: number[]
  store?: { location: string; grade: string; newest: string | null; error: string | null }
}

/** How things stand, by the word of the database, of this disk and of the store; changes nothing. */
export async function anchorStanding(
  settings: DatabaseSettings & { state?: string; worm?: string },
): Promise<Standing> {
  const status = await withAnchorDatabase(settings, database => database.status())
  const spooled =
    settings.state !== undefined && existsSync(settings.state)
      ? new AnchorState(settings.state).spooled()
      : []
  return {
    ...status,
    outstanding: spooled.map(({ anchor }) => anchor.number).filter(number => number > status.confirmedNumber),
    ...(settings.worm === undefined
      ? {}
      : { store: await storeStanding(settings.worm, status.confirmedNumber) }),
  }
}

/**
 * What the store has from the last confirmed anchor on, by name: the account of a host may get the objects of a bucket,
 * and not list them.
 */
export async function storeStanding(
  place: string,
  confirmed: number,
): Promise<NonNullable<Standing['store']>> {
  const { location, grade, get } = openWorm(place)
  const here = { location, grade, newest: null }
  try {
    let newest: string | null = null
    for (let n = Math.max(1, confirmed); await get(anchorName(n)); n++) newest = anchorName(n)
    if (newest === null && confirmed > 0)
      return { ...here, error: `has no ${anchorName(confirmed)}, which was confirmed` }
    return { ...here, newest, error: null }
  } catch (thrown) {
    return { ...here, error: reason(thrown) }
  }
}
