/** The my.cnf of a development server. */
import { ZtError } from '../core/errors.ts'
import { smallFiles } from './mysqld_data.ts'

/** What a server runs with, beside the defaults; it can change at a restart. */
export interface MysqldSettings {
  /** Lines of my.cnf's [mysqld] section, `name=value` or `name`; they win over the defaults. */
  options?: string[]
  /** Text of a whole my.cnf, sections included; it wins over `options`. */
  config?: string
  /** A file of SQL that runs at every start before the first connection is let in. */
  initFile?: string
}

/** What belongs to the instance, and wins over any settings. */
export interface InstancePlace {
  folder: string
  dataDir: string
  socket: string
  port: number
  errorLog: string
  /** Plugins that this server has and that load by default. */
  plugins: string[]
}

const defaults = [
  'bind-address=127.0.0.1',
  'skip-name-resolve',
  'mysqlx=OFF',
  'performance_schema=ON',
  'server-id=1',
  'log-bin=binlog',
  'event_scheduler=ON',
  'secure-file-priv=NULL',
  'innodb_buffer_pool_size=64M',
  'innodb_log_buffer_size=4M', // the default of 64 MB is written to at start
  'innodb_buffer_pool_load_at_startup=OFF',
  'innodb_buffer_pool_dump_at_shutdown=OFF',
  // few tables and connections: performance_schema sizes itself by them, which halves the start and saves 100 MB
  'max_connections=150',
  'table_definition_cache=400',
  'table_open_cache=400',
  ...smallFiles,
]

function line(option: string): string {
  if (/[\r\n]/.test(option) || option.trim() === '')
    throw new ZtError('BAD_INPUT', `my.cnf option ${JSON.stringify(option)}: not one line`, {
      hint: 'give one name=value each',
    })
  return option.replace(/^--/, '')
}

/** A path as an option file holds it: in quotes, as `#` would begin a comment and blanks would be cut. */
function quoted(path: string): string {
  if (/["\\\r\n]/.test(path))
    throw new ZtError('BAD_INPUT', `path ${JSON.stringify(path)}: not one that an option file can hold`, {
      hint: 'choose a path without quotes and backslashes',
    })
  return `"${path}"`
}

/** The text of my.cnf: defaults, then settings, then what belongs to the instance; the last one wins in MySQL. */
export function configText(settings: MysqldSettings, place: InstancePlace): string {
  const { options = [], config = '', initFile } = settings
  const given = [...options, config].join('\n')
  const plugins = place.plugins.filter(name => !given.includes(`${name}.so`)) // loading one twice is an error in the log
  return `[mysqld]
${defaults.join('\n')}
${plugins.map(name => `plugin-load-add=${name}.so`).join('\n')}
${options.map(line).join('\n')}
${config}
[mysqld]
datadir=${quoted(place.dataDir)}
socket=${quoted(place.socket)}
pid-file=${quoted(`${place.folder}/mysqld.pid`)}
port=${place.port}
log-error=${quoted(place.errorLog)}
${initFile === undefined ? '' : `init-file=${quoted(initFile)}`}
${process.geteuid?.() === 0 ? 'user=root' : ''}
`
}
