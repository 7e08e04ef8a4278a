/** Takes certificates out of force before their time. */
import { ZtError } from '../../core/errors.ts'
import {
  accountOf,
  currentCertificate,
  isInForce,
  type PkiAccount,
  type PkiCertificate,
} from '../../core/pki_state.ts'
import { retireAccount } from './accounts.ts'
import { type Draft, timeOf } from './draft.ts'

/** Revokes every certificate of `name` that is in force, or the one of `serial`. */
export async function revoke(
  draft: Draft,
  name: string,
  { serial, retire = false }: { serial?: string | undefined; retire?: boolean } = {},
): Promise<void> {
  const { state } = draft
  const account = name === 'server' ? undefined : accountOf(state, name)
  if (account === undefined && retire)
    throw new ZtError('USAGE', '--retire: the server is not an account', {
      hint: 'renew it: outside_pki renew server',
    })
  if (account?.role === 'administrator') refuseLastAdministrator(draft, account)
  const all: Pick<PkiCertificate, 'serial' | 'notAfter' | 'revokedAt'>[] =
    account === undefined ? state.servers : state.certificates.filter(c => c.account === name)
  const chosen = serial === undefined ? all : all.filter(c => c.serial === serial)
  if (chosen.length === 0)
    throw new ZtError('NOT_FOUND', `${name} has no certificate ${serial}`, {
      hint: 'outside_pki list shows the serials',
    })
  if (account !== undefined && retire) await retireAccount(draft, account)
  for (const certificate of chosen.filter(c => isInForce(c, timeOf(draft)))) {
    certificate.revokedAt = timeOf(draft)
    draft.crlIsStale = true
    draft.changes.push(`revoked: certificate ${certificate.serial} of ${name}`)
  }
}

/** Without one, no order could be signed any more. */
function refuseLastAdministrator(draft: Draft, account: PkiAccount): void {
  const { state } = draft
  const others = state.accounts.some(
    a =>
      a.role === 'administrator' && a !== account && isInForce(currentCertificate(state, a), timeOf(draft)),
  )
  if (!others)
    throw new ZtError('REFUSED', `${account.account}: is the only administrator`, {
      hint: 'first issue another: outside_pki issue NAME --role administrator',
    })
}
