/** The signed anchor that the next one must follow, by the word of this disk, the database and the store together. */
import { anchorName, openAnchor } from '../core/audit/anchor.ts'
import { type AnchorKey, publicKeys } from '../core/audit/checkpoint.ts'
import { ZtError } from '../core/errors.ts'
import type { AnchorStatus } from './anchor_database.ts'
import { type AnchorState, readSigned, type SignedAnchor } from './anchor_state.ts'
import type { Worm } from './worm.ts'

/** What the database says contradicts what was signed: a finding, not a failure. */
export const forked = (message: string): ZtError =>
  new ZtError('VERIFY_FAILED', message, {
    hint: 'delete nothing: run chain_verify with the anchors of the store, and find out who restored or changed the database',
  })

/**
 * The newest signed anchor, in the spool on return; undefined before the first.
 * @throws VERIFY_FAILED where database, spool and store contradict one another; NOT_FOUND where it is lost
 */
export async function lastSigned(
  status: AnchorStatus,
  state: AnchorState,
  worm: Worm,
  origin: string,
  keys: readonly AnchorKey[],
): Promise<SignedAnchor | undefined> {
  const { recordedNumber, confirmedNumber, confirmedSha256 } = status
  const spooled = state.spooled()
  const foreign = spooled.find(({ anchor }) => anchor.origin !== origin)
  if (foreign) throw ofAnotherLog(state.dir, foreign, origin)
  const last = spooled.at(-1)
  const number = last?.anchor.number ?? 0
  if (number > recordedNumber)
    throw forked(
      `the database has gone back: ${recordedNumber} anchors are recorded, ${number} were signed here`,
    )
  const same = spooled.find(({ anchor }) => anchor.number === confirmedNumber)
  if (same && same.sha256 !== confirmedSha256)
    throw forked(`anchor ${confirmedNumber}: the database has confirmed another object than was signed here`)
  if (number === recordedNumber) return last
  for (const candidate of new Set([recordedNumber, confirmedNumber])) {
    if (candidate <= number) continue
    const adopted = await adopt(candidate, status, worm, origin, keys)
    if (adopted === undefined) continue
    state.keep(adopted)
    return adopted
  }
  if (confirmedNumber > number)
    throw new ZtError('NOT_FOUND', `anchor ${confirmedNumber}: neither in ${state.dir} nor in the store`, {
      hint: 'put the objects back into the store from a copy: the next anchor must be shown to extend it',
    })
  return last
}

const ofAnotherLog = (where: string, { anchor }: SignedAnchor, origin: string): ZtError =>
  new ZtError('BAD_INPUT', `${where}: keeps anchors of log ${anchor.origin}`, {
    hint: `name another state folder for ${origin}, or check --key`,
  })

/** An anchor that this disk lost, or never knew, back from the store. */
async function adopt(
  number: number,
  { confirmedNumber, confirmedSha256 }: AnchorStatus,
  worm: Worm,
  origin: string,
  keys: readonly AnchorKey[],
): Promise<SignedAnchor | undefined> {
  const name = anchorName(number)
  const object = await worm.get(name)
  if (object === undefined) return undefined
  const signed = readSigned(name, object.bytes)
  const known =
    number === confirmedNumber
      ? signed.sha256 === confirmedSha256
      : signed.anchor.origin === origin && signed.anchor.prev === confirmedSha256
  if (!known) throw forked(`${name}: the store holds another object than the database knows`)
  // confirmed, so it is this database's: then it is the key at hand that belongs elsewhere
  if (signed.anchor.origin !== origin) throw ofAnotherLog(worm.location, signed, origin)
  // what the database has not confirmed could be anybody's
  if (number !== confirmedNumber)
    openAnchor(signed.anchor, {
      origin,
      logKeys: keys.map(key => ({ ...publicKeys(key), from: 1, until: null })),
    })
  return signed
}
