/** Privileges as single facts, so that two lists of GRANT statements can be compared whatever their order and spelling. */

/** `EXECUTE ON PROCEDURE securedb.seal_due`: what GRANT and REVOKE take, without the account. */
export type Privilege = string

const statement = /^GRANT (.+?) ON (.+?) TO (.+?)( WITH GRANT OPTION)?$/

/** Commas outside of parentheses part privileges; inside they part columns. */
function split(list: string): string[] {
  return list.split(/,\s*(?![^(]*\))/)
}

/** `TABLE ` is the default and left out; names lose their backquotes where plain letters make them needless. */
function objectName(text: string): string {
  return text.replace(/^TABLE /, '').replace(/`([A-Za-z0-9_]+)`/g, '$1')
}

/**
 * The privileges of one statement as SHOW GRANTS prints it; `USAGE` is none. A statement of another form (a role, a
 * proxy) comes back whole: it is nothing that an account here should have, and must not be overlooked.
 */
export function privilegesOf(line: string): Privilege[] {
  const [, list, object, , option] = statement.exec(line) ?? []
  if (list === undefined || object === undefined || list === 'PROXY') return [line]
  const on = objectName(object)
  const privileges = split(list)
    .filter(name => name !== 'USAGE')
    .map(name => `${objectName(name)} ON ${on}`)
  return option === undefined ? privileges : [...privileges, `GRANT OPTION ON ${on}`]
}

export interface PrivilegeDrift {
  missing: Privilege[]
  extra: Privilege[]
}

export function privilegeDrift(wanted: Iterable<Privilege>, found: Iterable<Privilege>): PrivilegeDrift {
  const want = new Set(wanted)
  const have = new Set(found)
  return {
    missing: [...want].filter(p => !have.has(p)).sort(),
    extra: [...have].filter(p => !want.has(p)).sort(),
  }
}
