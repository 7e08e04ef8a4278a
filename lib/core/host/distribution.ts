/** Which systems a host may be, from /etc/os-release: data with what was tested. */
import { ZtError } from '../errors.ts'

export interface Distribution {
  id: 'debian' | 'ubuntu'
  /** As os-release has it: `12`, `24.04`; `sid` where it has none. */
  version: string
  /** As people say it. */
  name: string
  /** Whether its own apt has MySQL 8.4 or newer. */
  hasMysql: boolean
}

export const distributions: readonly Distribution[] = [
  { id: 'debian', version: '12', name: 'Debian 12', hasMysql: false },
  { id: 'debian', version: '13', name: 'Debian 13', hasMysql: false },
  { id: 'debian', version: 'sid', name: 'Debian sid', hasMysql: true },
  { id: 'ubuntu', version: '24.04', name: 'Ubuntu 24.04', hasMysql: false },
  { id: 'ubuntu', version: '26.04', name: 'Ubuntu 26.04', hasMysql: true },
]

/** NAME=value lines, quoted or not (os-release(5)). */
export function parseOsRelease(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap(line => {
      const [, name, value] = /^([A-Z_]+)=(.*)$/.exec(line.trim()) ?? []
      return name === undefined || value === undefined ? [] : [[name, value.replace(/^(["'])(.*)\1$/, '$2')]]
    }),
  )
}

/** @throws REFUSED on a system that is not in the list, naming those that are */
export function recogniseDistribution(osRelease: string): Distribution {
  const fields = parseOsRelease(osRelease)
  const id = fields.get('ID') ?? 'unknown'
  const version =
    fields.get('VERSION_ID') ?? (/\bsid\b/.test(fields.get('PRETTY_NAME') ?? '') ? 'sid' : 'unknown')
  const found = distributions.find(each => each.id === id && each.version === version)
  if (found) return found
  throw new ZtError('REFUSED', `this system is ${fields.get('PRETTY_NAME') ?? id}, which is not supported`, {
    hint: `use one of ${distributions.map(({ name }) => name).join(', ')}`,
  })
}
