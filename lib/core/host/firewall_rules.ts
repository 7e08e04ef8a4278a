/** Rules of UFW as its own files keep them (`### tuple ###` lines of user.rules and user6.rules), and what they come to. */
import { type Cidr, contains, everybody, readCidr } from './cidr.ts'

export interface Rule {
  family: 4 | 6
  action: 'allow' | 'limit' | 'deny' | 'reject'
  proto: string
  /** `any`, `22`, `80,443`, `8000:8010`. */
  ports: string
  source: Cidr
  /** Whether it is for one source port or one destination alone. */
  narrowed: boolean
  /** The interface that it is bound to. */
  iface: string | null
  comment: string
  /** As `ufw` takes it after `ufw` or `ufw delete`. */
  command: string[]
}

const fromHexText = (hex: string): string =>
  new TextDecoder().decode(Uint8Array.from(hex.match(/../g) ?? [], pair => Number.parseInt(pair, 16)))

/** Incoming rules of one file, in the order in which they hold. Rules for forwarded and outgoing packets are left out. */
export function parseRules(text: string, family: 4 | 6): Rule[] {
  return text.split('\n').flatMap(line => {
    const words = line.startsWith('### tuple ### ') ? line.slice(14).trim().split(/\s+/) : []
    const comment = fromHexText(words.find(word => word.startsWith('comment='))?.slice(8) ?? '')
    const fields = words.filter(word => !word.startsWith('comment='))
    const [verb = '', proto = 'any', ports = 'any', dst = '', sport = 'any', src = ''] = fields
    const direction = fields.at(-1) ?? ''
    const action = verb.replace(/_log(?:-all)?$/, '')
    const source = readCidr(src)
    if (!/^in(?:_|$)/.test(direction) || source === null) return []
    if (action !== 'allow' && action !== 'limit' && action !== 'deny' && action !== 'reject') return []
    const iface = direction === 'in' ? null : direction.slice(3)
    const anywhere = readCidr(dst)?.bits === 0
    const command = [
      ...[verb.replace('_', ' '), 'in'].flatMap(word => word.split(' ')),
      ...(iface === null ? [] : ['on', iface]),
      ...(proto === 'any' ? [] : ['proto', proto]),
      'from',
      src,
      ...(sport === 'any' ? [] : ['port', sport]),
      'to',
      dst,
      ...(ports === 'any' ? [] : ['port', ports]),
    ]
    const narrowed = sport !== 'any' || !anywhere
    return [{ family, action, proto, ports, source, narrowed, iface, comment, command }]
  })
}

/** Whether a port is among `any`, `22`, `80,443` or `8000:8010`. */
export const hasPort = (ports: string, port: number): boolean =>
  ports === 'any' ||
  ports.split(',').some(part => {
    const [low, high = low] = part.split(':').map(Number)
    return low !== undefined && high !== undefined && low <= port && port <= high
  })

/** Whether the first rule that a new TCP connection meets lets it in; without one it is refused. */
export function letsIn(rules: Rule[], packet: { source: Cidr; port: number; iface: string | null }): boolean {
  const first = rules.find(
    rule =>
      contains(rule.source, packet.source) &&
      (rule.proto === 'any' || rule.proto === 'tcp') &&
      hasPort(rule.ports, packet.port) &&
      (rule.iface === null || rule.iface === packet.iface) &&
      // one that holds for some packets only is not counted on, and feared where it refuses
      !(rule.narrowed && (rule.action === 'allow' || rule.action === 'limit')),
  )
  return first?.action === 'allow' || first?.action === 'limit'
}

export const isOpening = (rule: Rule): boolean => rule.action === 'allow' || rule.action === 'limit'

/** A rule of ours, for one family. */
export function openRule(port: number, source: Cidr, comment: string): Rule {
  const { family } = source
  const from = source.bits === 0 ? everybody(family) : source
  return {
    family,
    action: 'allow',
    proto: 'tcp',
    ports: String(port),
    source: from,
    narrowed: false,
    iface: null,
    comment,
    command: [],
  }
}
