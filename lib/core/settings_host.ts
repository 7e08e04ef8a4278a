/** Settings that need more of the host than a server: its keyring, components, paths. */
import type { Setting } from './settings.ts'

/** Components that are installed for these settings; their variables are there only then. */
export const hostComponents = ['component_validate_password', 'component_connection_control'] as const

const atRest = (option: string, why: string): Setting => ({
  option,
  value: 'ON',
  kind: 'dynamic',
  scope: 'host',
  from: ['CIS 4.9'],
  why,
})

/**
 * An option of a component, which mysqld reads before the component is there at its first start: hence `loose`.
 * @param reads as the variable says it
 */
const ofComponent = (
  component: (typeof hostComponents)[number],
  variable: string,
  value: string,
  from: string,
  why: string,
): Setting => ({
  option: `loose_${variable}`,
  variable,
  value,
  kind: 'dynamic',
  scope: 'host',
  component,
  from: [from],
  why,
})

const password = (name: string, value: string, why: string): Setting =>
  ofComponent('component_validate_password', `validate_password.${name}`, value, 'CIS 7.4', why)

const connection = (name: string, value: string, why: string): Setting =>
  ofComponent('component_connection_control', `component_connection_control.${name}`, value, 'CIS 2.18', why)

export const hostSettings: Setting[] = [
  {
    option: 'user',
    value: 'mysql',
    kind: 'static',
    variable: null,
    scope: 'host',
    from: ['CIS 1.2', 'dev-sec conf-03'],
    why: 'an account without a shell and without rights elsewhere',
  },
  {
    option: 'log_error',
    value: '/var/log/mysql/error.log',
    kind: 'static',
    scope: 'host',
    from: ['CIS 6.1', 'dev-sec conf-06'],
    why: 'one file that the jail of refused log-ins reads, closed to others',
  },
  {
    option: 'log_error_suppression_list',
    value: '',
    kind: 'observed',
    scope: 'host',
    from: ['CIS 6.2'],
    why: 'no event is left out of the error log',
  },
  {
    option: 'core_file',
    value: 'OFF',
    kind: 'observed',
    scope: 'host',
    from: ['design 5'],
    why: 'no memory of mysqld is written to a disk when it ends',
  },
  atRest('default_table_encryption', 'a stolen disk shows no table'),
  {
    ...atRest(
      'table_encryption_privilege_check',
      'nobody makes a table that is not encrypted without a right to',
    ),
    from: ['CIS 4.9'],
  },
  atRest('innodb_redo_log_encrypt', 'a stolen disk shows no change'),
  atRest('innodb_undo_log_encrypt', 'a stolen disk shows no older version of a row'),
  {
    ...atRest('binlog_encryption', 'a stolen disk or a copied binary log shows no event'),
    from: ['CIS 2.2.1'],
  },
  password('policy', 'STRONG', 'a password that a person sets is not a word'),
  password('length', '14', 'a password that a person sets is long'),
  password('mixed_case_count', '1', 'letters of both cases'),
  password('number_count', '1', 'with a digit in it'),
  password('special_char_count', '1', 'and a sign that is neither'),
  password('check_user_name', 'ON', 'not the name of its account'),
  connection('failed_connections_threshold', '5', 'from the sixth refusal on an account answers late'),
  connection('min_connection_delay', '1000', 'a second at first'),
  connection(
    'max_connection_delay',
    '10000',
    'and ten at most: whoever guesses holds no connection for long',
  ),
  {
    option: 'global_connection_memory_tracking',
    value: 'ON',
    kind: 'dynamic',
    scope: 'host',
    from: ['CIS 8.3'],
    why: 'without it the two limits below count nothing',
  },
  {
    option: 'connection_memory_limit',
    value: '268435456',
    kind: 'dynamic',
    scope: 'host',
    from: ['CIS 8.3'],
    why: 'one connection takes 256 MiB at most',
  },
  {
    option: 'global_connection_memory_limit',
    value: '2147483648',
    kind: 'dynamic',
    scope: 'host',
    from: ['CIS 8.3'],
    why: 'all connections of accounts together take 2 GiB at most; root is not counted',
  },
]
