/** Texts of UFW's files: the settings, and the block that limits new connections to MySQL. */
import { type Cidr, formatCidr, readCidr } from './cidr.ts'

/**
 * New connections of one source that are answered: as many at once as mysqld holds in all (max_connections), then two a
 * second. A failed handshake leaves no address anywhere but in the kernel, so this is where it is limited; `ufw limit`
 * would be six in half a minute, which stops any application that opens its pool.
 */
export const handshakeLimit = { burst: 200, rate: '2/sec' } as const

/** In IPv6 a /64 is one source, since its holder has all of it; where the network itself is no more, each address is. */
const maskOf = ({ family, bits }: Cidr): number => (family === 4 ? 32 : bits < 64 ? 64 : 128)

const [begin, end] = ['# BEGIN ztmysql', '# END ztmysql']

/** Puts NAME=value in place of the first of its lines, or at the end; others of its lines go. */
export function withValue(text: string, name: string, value: string): string {
  const line = `${name}=${value === '' ? '' : `"${value}"`}`
  const lines = text.split('\n')
  const at = lines.findIndex(each => new RegExp(`^[ \\t]*${name}=`).test(each))
  if (at < 0) return `${text.replace(/\n?$/, '\n')}${line}\n`
  return lines
    .flatMap((each, i) => (i === at ? [line] : new RegExp(`^[ \\t]*${name}=`).test(each) ? [] : [each]))
    .join('\n')
}

/** The rule as `iptables-restore` takes it; `-s` keeps others' addresses out of the table of sources. */
function limitRule(source: Cidr): string {
  const { burst, rate } = handshakeLimit
  const chain = source.family === 4 ? 'ufw-before-input' : 'ufw6-before-input'
  const mask = maskOf(source) === 64 ? ['--hashlimit-srcmask', '64'] : []
  return [
    `-A ${chain} -p tcp --dport 3306 -s ${formatCidr(source)} -m conntrack --ctstate NEW`,
    `-m hashlimit --hashlimit-above ${rate} --hashlimit-burst ${burst} --hashlimit-mode srcip`,
    ...mask,
    `--hashlimit-name ztmysql${maskOf(source)} -j REJECT --reject-with tcp-reset`,
  ].join(' ')
}

/** before.rules with our block at its end, or without it where no network may come. The rest stays to the byte. */
export function withBlock(text: string, sources: Cidr[]): string {
  const bare = text.replace(new RegExp(`^${begin}\\n[\\s\\S]*?^${end}\\n?`, 'gm'), '')
  if (sources.length === 0) return bare
  return [
    bare.replace(/\n?$/, ''),
    begin,
    '# new connections to MySQL, limited for each source; made by vm_oneclick, which writes it anew',
    '*filter',
    ...sources.map(limitRule),
    'COMMIT',
    end,
    '',
  ].join('\n')
}

/** What is wrong with the limit that the kernel holds; null when each network has its own and no other is there. */
export function blockFault(rules: string[], sources: Cidr[]): string | null {
  const ours = rules.filter(rule => /--hashlimit-name ztmysql/.test(rule))
  const { burst, rate } = handshakeLimit
  const holds = (rule: string, source: Cidr): boolean => {
    const from = readCidr(/ -s (\S+)/.exec(rule)?.[1] ?? '')
    const mask = / --hashlimit-srcmask (\d+)/.exec(rule)?.[1] ?? (source.family === 4 ? '32' : '128')
    return (
      from?.first === source.first &&
      from.bits === source.bits &&
      rule.includes(' --dport 3306 ') &&
      rule.includes(` --hashlimit-above ${rate} --hashlimit-burst ${burst} --hashlimit-mode srcip `) &&
      mask === String(maskOf(source)) &&
      rule.endsWith('-j REJECT --reject-with tcp-reset')
    )
  }
  const missing = sources.find(source => !ours.some(rule => holds(rule, source)))
  if (missing !== undefined) return `none for ${formatCidr(missing)}`
  const extra = ours.find(rule => !sources.some(source => holds(rule, source)))
  return extra === undefined ? null : `one that is not wanted: ${extra}`
}
