/** What a data key is called: every derivation and AAD binds all three parts (SPEC §3.1). */
import { isUuid } from '../bytes.ts'
import { ZtError } from '../errors.ts'

export interface KeyName {
  /** UUID. */
  readonly tenant: string
  /** UUID. */
  readonly id: string
  /** `record` or `blind:TABLE.COLUMN`. */
  readonly purpose: string
}

export const recordPurpose = 'record'
/** Purpose of the blind-index key of one sealed column. */
export const blindPurpose = (table: string, column: string): string => `blind:${table}.${column}`

const purposePattern = /^(?:record|blind:[a-z_]+[.][a-z_]+)$/

/** @throws BAD_FORMAT */
export function checkKeyName(name: KeyName): KeyName {
  if (!isUuid(name.tenant)) throw new ZtError('BAD_FORMAT', 'data key: tenant is not a canonical UUID')
  if (!isUuid(name.id)) throw new ZtError('BAD_FORMAT', 'data key: id is not a canonical UUID')
  if (!purposePattern.test(name.purpose) || name.purpose.length > 90)
    throw new ZtError('BAD_FORMAT', 'data key: purpose is neither record nor blind:TABLE.COLUMN')
  return name
}
