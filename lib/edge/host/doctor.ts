/** Gathers what the doctor judges. */

import { readFileSync, statfsSync, statSync } from 'node:fs'
import { connect } from 'node:tls'
import { anchorName } from '../../core/audit/anchor.ts'
import { reason } from '../../core/errors.ts'
import type { Facts } from '../../core/host/doctor.ts'
import { logFiles, parseLogHost } from '../../core/host/log_shipping.ts'
import { timers } from '../../core/host/units.ts'
import { installDefaults } from '../install/target.ts'
import { openWorm } from '../worm.ts'
import { lookAtBinary, lookAtUnit, observeHost } from './observe.ts'
import { readHostRecord } from './setup.ts'
import { ask } from './system.ts'

const handshakeMs = 5000

/** Why a TLS 1.3 handshake with the log host fails; null where both sides are content. */
async function logHostError(logHost: string): Promise<string | null> {
  const { name, port } = parseLogHost(logHost)
  try {
    const [ca, cert, key] = [logFiles.ca, logFiles.cert, logFiles.key].map(path => readFileSync(path))
    return await new Promise(done => {
      const socket = connect({ host: name, port, servername: name, ca, cert, key, minVersion: 'TLSv1.3' })
      const end = (error: string | null) => {
        socket.destroy()
        done(error)
      }
      socket.setTimeout(handshakeMs, () => end(`no answer within ${handshakeMs / 1000} s`))
      // under TLS 1.3 a server refuses a client's certificate only after its own handshake has ended
      socket.once('secureConnect', () => setTimeout(() => end(null), 300))
      socket.once('error', error => end(reason(error)))
      socket.once('close', () => end('it closed the connection'))
    })
  } catch (thrown) {
    return reason(thrown)
  }
}

async function storeError(worm: string): Promise<string | null> {
  try {
    await openWorm(worm).get(anchorName(1)) // the host may get anchors of a bucket, and not list them
    return null
  } catch (thrown) {
    return reason(thrown)
  }
}

/** One entry a file system. */
function disksOf(paths: string[]): Facts['disks'] {
  const seen = new Set<number>()
  return paths.flatMap(path => {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats === undefined || seen.has(stats.dev)) return []
    seen.add(stats.dev)
    const { bavail, blocks, bsize } = statfsSync(path)
    return [{ path, freeBytes: bavail * bsize, totalBytes: blocks * bsize }]
  })
}

/** The last error that the anchor's journal has. */
async function anchorError(): Promise<string | null> {
  const { stdout } = await ask(
    'journalctl',
    '-u',
    'ztmysql-anchor.service',
    '-n',
    '50',
    '-o',
    'cat',
    '--no-pager',
  )
  const line = stdout.split('\n').findLast(each => each.includes('error: '))
  return line === undefined ? null : line.slice(line.indexOf('error: ') + 'error: '.length)
}

async function clock(): Promise<boolean | null> {
  const { exitCode, stdout } = await ask('timedatectl', 'show', '-p', 'NTPSynchronized', '--value')
  return exitCode === 0 ? stdout.trim() === 'yes' : null
}

/** @throws NOT_FOUND where no host was set up here */
export async function gatherFacts(): Promise<Facts> {
  const { database, ...host } = await observeHost()
  const record = readHostRecord()
  const worm = record?.worm ?? ''
  const logHost = record?.logHost ?? null
  const [anchorTimer, anchorService, rsyslog] = await Promise.all(
    ['ztmysql-anchor.timer', 'ztmysql-anchor.service', 'rsyslog.service'].map(lookAtUnit),
  )
  const others = await Promise.all(
    timers
      .filter(name => name !== 'ztmysql-anchor.timer')
      .map(async name => [name, await lookAtUnit(name)] as const),
  )
  const idle = others.filter(([, { active, enabled }]) => active !== 'active' || enabled !== 'enabled')
  const idleUnits = Object.fromEntries(
    idle.map(([name, { active, enabled }]) => [name, `${enabled} and ${active}`]),
  )
  if (rsyslog !== undefined && rsyslog.active !== 'active') idleUnits['rsyslog.service'] = rsyslog.active
  const failed = anchorService?.result !== undefined && anchorService.result !== 'success'
  return {
    now: Date.now(),
    serverError: database.error,
    trail: host.trail,
    limits: host.limits,
    check: host.check,
    queuedLines: host.queuedLines,
    expiry: { serverNotAfter: host.certificates.server ?? null, crlNextUpdate: host.crlNextUpdate },
    certificates: Object.fromEntries(
      Object.entries(host.certificates).filter(([name]) => name !== 'server' && name !== 'ca'),
    ),
    scheduler: database.scheduler,
    sealerLookedAt: database.sealerLookedAt,
    anchor: {
      timerEnabled: anchorTimer?.enabled ?? 'unknown',
      timerActive: anchorTimer?.active ?? 'unknown',
      result: anchorService?.result ?? 'unknown',
      lastError: failed ? await anchorError() : null,
    },
    idleUnits,
    disks: disksOf([
      ...(database.dataFolder === null ? [] : [database.dataFolder]),
      installDefaults.anchorDir,
      worm,
      '/var/log',
      '/var/spool',
      '/',
    ]),
    clockSynchronised: await clock(),
    store: { location: worm, error: await storeError(worm) },
    logHost: logHost === null ? null : { name: logHost, error: await logHostError(logHost) },
    keyring: database.keyring,
    binary: lookAtBinary(),
  }
}
