/**
 * The `[client]` group of a MySQL option file, as `mysql --defaults-file` reads it (MySQL manual, "Using Option
 * Files"). Of its grammar only what we print and people usually write is accepted: no includes, no mid-line comments.
 */
import { ZtError } from './errors.ts'

export interface ClientConfig {
  user?: string
  password?: string
  host?: string
  port?: number
  socket?: string
  database?: string
  sslCa?: string
  sslCert?: string
  sslKey?: string
  sslMode?: string
  tlsVersion?: string
}

const options = {
  user: 'user',
  password: 'password',
  host: 'host',
  port: 'port',
  socket: 'socket',
  database: 'database',
  'ssl-ca': 'sslCa',
  'ssl-cert': 'sslCert',
  'ssl-key': 'sslKey',
  'ssl-mode': 'sslMode',
  'tls-version': 'tlsVersion',
} as const satisfies Record<string, keyof ClientConfig>

type OptionName = keyof typeof options

const isOption = (name: string): name is OptionName => Object.hasOwn(options, name)

// Safe without quotes in MySQL's reader: no space, quote, comment sign or backslash anywhere.
const bare = /^[A-Za-z0-9_@%+,./:=-]*$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
const control = /[\x00-\x1f\x7f]/

/** The text of a defaults-file with one `[client]` group. @throws BAD_INPUT on control characters */
export function formatClientConfig(config: ClientConfig): string {
  const lines = (Object.keys(options) as OptionName[]).flatMap(name => {
    const value = config[options[name]]
    if (value === undefined) return []
    const text = String(value)
    if (control.test(text)) throw new ZtError('BAD_INPUT', `${name}: control characters are not allowed`)
    return [`${name}=${bare.test(text) ? text : `"${text.replaceAll('\\', '\\\\')}"`}`]
  })
  return `[client]\n${lines.join('\n')}\n`
}

function readValue(raw: string, where: string): string {
  const quote = raw[0]
  if (quote === '"' || quote === "'") {
    if (raw.length < 2 || raw.at(-1) !== quote)
      throw new ZtError('BAD_FORMAT', `${where}: a quote is not closed`)
    return unescapeValue(raw.slice(1, -1), where)
  }
  // MySQL would take the rest of the line as a comment and use a shortened value, such as a password.
  if (raw.includes('#')) throw new ZtError('BAD_FORMAT', `${where}: put a value with # in quotes`)
  return unescapeValue(raw, where)
}

function unescapeValue(text: string, where: string): string {
  return text.replace(/\\(.?)/g, (_, next: string) => {
    if (next === '\\') return '\\'
    if (next === 's') return ' '
    throw new ZtError('BAD_FORMAT', `${where}: only \\\\ and \\s are understood after a backslash`)
  })
}

/**
 * The `[client]` group; other groups (`[mysql]`, …) belong to other programs and are passed over.
 * @throws BAD_FORMAT on an unknown or repeated option, an include, a missing group. Values are never repeated in errors.
 */
export function parseClientConfig(text: string, what = 'defaults file'): ClientConfig {
  const config: ClientConfig = {}
  let group: string | undefined
  let seen = false
  for (const [index, line] of text.split('\n').entries()) {
    const where = `${what}, line ${index + 1}`
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#') || trimmed.startsWith(';')) continue
    if (trimmed.startsWith('!')) throw new ZtError('BAD_FORMAT', `${where}: includes are not followed`)
    const header = /^\[([A-Za-z0-9_-]+)\]$/.exec(trimmed)
    if (header) {
      group = header[1]
      seen ||= group === 'client'
    } else if (group === undefined) throw new ZtError('BAD_FORMAT', `${where}: expected a [group] first`)
    else if (group === 'client') readOption(config, trimmed, where)
  }
  if (!seen)
    throw new ZtError('BAD_FORMAT', `${what}: has no [client] group`, {
      hint: 'name the NAME.cnf that outside_pki wrote',
    })
  return config
}

function readOption(config: ClientConfig, line: string, where: string): void {
  const [, rawName = '', rawValue = ''] = /^([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(.*)$/.exec(line) ?? []
  const name = rawName.toLowerCase().replaceAll('_', '-')
  // its name is not repeated: a password with a = in it would be read as one
  if (!isOption(name))
    throw new ZtError('BAD_FORMAT', `${where}: unknown option`, {
      hint: `known options: ${Object.keys(options).join(', ')}`,
    })
  const key = options[name]
  if (config[key] !== undefined) throw new ZtError('BAD_FORMAT', `${where}: ${name} is given twice`)
  const value = readValue(rawValue, where)
  if (key !== 'port') {
    config[key] = value
    return
  }
  if (!/^[1-9][0-9]{0,4}$/.test(value) || Number(value) > 65535)
    throw new ZtError('BAD_FORMAT', `${where}: port is a number from 1 to 65535`)
  config.port = Number(value)
}
