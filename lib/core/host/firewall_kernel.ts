/**
 * What the kernel lets in, from `iptables -S`: the rules that hold, whoever put them there. A table of nftables' own can
 * refuse more (as fail2ban's does) and never let in more, so this one is enough.
 */
import { type Cidr, everybody, readCidr } from './cidr.ts'
import { hasPort } from './firewall_rules.ts'

export interface Opening {
  family: 4 | 6
  /** The chain that it stands in. */
  chain: string
  proto: string
  ports: string
  source: Cidr
  iface: string | null
  /** The rule as the kernel has it. */
  text: string
}

export interface KernelView {
  /** What happens to a packet that no rule takes: `DROP` or `ACCEPT`. */
  policy: string
  openings: Opening[]
  /** Targets of rules on the way of incoming packets that this program does not know. */
  unknown: string[]
  /** Every rule on that way, to look for those that limit. */
  rules: string[]
  /** Whether the first jumps of INPUT are UFW's. */
  hasUfw: boolean
}

const own = ['DROP', 'REJECT', 'LOG', 'RETURN', 'NFLOG', 'CONNMARK', 'MARK']

const option = (words: string[], ...names: string[]): string | null => {
  const at = words.findIndex(word => names.includes(word))
  return at < 0 ? null : (words[at + 1] ?? null)
}

/** UFW's way of accepting what a `limit` rule let through. */
const accepting = (target: string): boolean => target === 'ACCEPT' || /^ufw6?-user-limit-accept$/.test(target)

export function readKernel(text: string, family: 4 | 6): KernelView {
  const lines = text.split('\n').map(line => line.trim())
  const chains = new Set(lines.flatMap(line => /^-N (\S+)$/.exec(line)?.[1] ?? []))
  const policy = lines.flatMap(line => /^-P INPUT (\S+)$/.exec(line)?.[1] ?? [])[0] ?? 'ACCEPT'
  const view: KernelView = { policy, openings: [], unknown: [], rules: [], hasUfw: false }
  const reached = new Set<string>()
  const walk = (chain: string): void => {
    if (reached.has(chain)) return
    reached.add(chain)
    for (const line of lines.filter(each => each.startsWith(`-A ${chain} `))) {
      view.rules.push(line)
      const words = line.split(/\s+/)
      const target = option(words, '-j', '-g')
      if (target === null) continue // it counts or remembers
      if (chain === 'INPUT' && /^ufw6?-before-input$/.test(target)) view.hasUfw = true
      if (accepting(target)) view.openings.push(opening(words, chain, line, family))
      else if (chains.has(target)) walk(target)
      else if (!own.includes(target)) view.unknown.push(line)
    }
  }
  walk('INPUT')
  return view
}

function opening(words: string[], chain: string, text: string, family: 4 | 6): Opening {
  // `! -s` turns a condition round: taken for anybody's, so that it is looked at
  const plain = words.includes('!') ? [] : words
  const source = readCidr(option(plain, '-s') ?? '')
  return {
    family,
    chain,
    proto: option(plain, '-p') ?? 'any',
    ports: option(plain, '--dport', '--dports') ?? 'any',
    source: source ?? everybody(family),
    iface: option(plain, '-i'),
    text,
  }
}

/**
 * What stock UFW lets in before anybody's rules (before.rules, before6.rules): this machine itself, answers, ICMP,
 * DHCP, and the two multicast look-ups, behind which nothing listens here.
 */
export const stockOpenings: readonly RegExp[] = [
  /^-A \S+ -i lo -j ACCEPT$/,
  /^-A \S+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT$/,
  /^-A ufw6?-before-input (?:-s \S+ )?(?:-d \S+ )?-p (?:icmp|ipv6-icmp)\b.* -j ACCEPT$/,
  /^-A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT$/,
  /^-A ufw6-before-input -s fe80::\/10 -d fe80::\/10 -p udp -m udp --sport 547 --dport 546 -j ACCEPT$/,
  /^-A ufw-before-input -d 224\.0\.0\.251\/32 -p udp -m udp --dport 5353 -j ACCEPT$/,
  /^-A ufw-before-input -d 239\.255\.255\.250\/32 -p udp -m udp --dport 1900 -j ACCEPT$/,
  /^-A ufw6-before-input -d ff02::fb\/128 -p udp -m udp --dport 5353 -j ACCEPT$/,
  /^-A ufw6-before-input -d ff02::f\/128 -p udp -m udp --dport 1900 -j ACCEPT$/,
  /^-A ufw6?-user-limit-accept -j ACCEPT$/,
]

export const isStock = ({ text }: Opening): boolean => stockOpenings.some(stock => stock.test(text))

export const opensPort = ({ proto, ports }: Pick<Opening, 'proto' | 'ports'>, port: number): boolean =>
  (proto === 'any' || proto === 'all' || proto === 'tcp') && hasPort(ports, port)
