import { isTime } from '../time.ts'

const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'
const hex32 = '[0-9a-f]{64}'
// printable ASCII that JSON does not escape
const plain = '[ !#-\\[\\]-~]'
const number = '[1-9][0-9]{0,14}'

/** The commonest spelling of a signed row event (SPEC §4.1), member by member as parseEvent checks them. */
const pattern = new RegExp(
  [
    `^\\{"v":1,"id":"(${uuid})","time":"([0-9T:.Z-]{27})","actor":"${plain}{1,300}","conn":(?:0|${number})`,
    `"tenant":"(${uuid})","table":"[a-z][a-z0-9_]{0,40}","action":"(create|update|erase|retire|rewrap)"`,
    `"key":"${plain}{1,200}","ver":${number},"wver":${number},"scheme":"[a-z_]+/[1-9][0-9]*"`,
    `"before":(null|"${hex32}"),"after":"${hex32}","sig":"[A-Za-z0-9+/]{85}[AQgw]==","signer":"${hex32}","data":null\\}$`,
  ].join(','),
)

/** What a run of events must know of each one. */
export interface QuickEvent {
  id: string
  time: string
  tenant: string | null
}

/**
 * Id, time and tenant of a row event, at a fifth of parseEvent's price. Undefined says nothing: parseEvent decides.
 * Whatever it lets through parseEvent accepts too; a test holds the two against each other.
 */
export function quickEvent(text: string): QuickEvent | undefined {
  const [, id, time, tenant, action, before] = pattern.exec(text) ?? []
  if (id === undefined || time === undefined || tenant === undefined) return undefined
  if (!isTime(time) || (action === 'create') !== (before === 'null')) return undefined
  return { id, time, tenant }
}
