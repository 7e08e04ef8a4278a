/**
 * Names of keys in a PKCS#11 token, as RFC 7512 writes them. What is stored has path attributes alone, in one order and
 * one spelling: `pkcs11:token=T[;serial=S];object=O[;id=%01]`. What a person types may also say, behind `?`, how this
 * machine reaches the token; that is never stored, so no record can make a reader load a library.
 */
import { type Bytes, concat, fromUtf8, utf8 } from './bytes.ts'
import { ZtError } from './errors.ts'

export interface Pkcs11Name {
  /** CKA_LABEL of the token, at most 32 bytes. */
  readonly token: string
  /** Serial number of the token, at most 16 bytes. */
  readonly serial?: string
  /** CKA_LABEL of the key, at most 64 bytes. Keys of one label are versions of one key. */
  readonly object: string
  /** CKA_ID, 1 to 32 bytes: this version alone. */
  readonly id?: Bytes
}

/** How a person's machine reaches a token. */
export interface Pkcs11Access {
  /** Absolute path of the module. */
  readonly modulePath?: string
  /** Absolute path of a file that holds the PIN. */
  readonly pinFile?: string
}

export const pkcs11Example = 'pkcs11:token=T;object=K?module-path=/usr/lib/….so&pin-source=file:/…'
const hint = `a key is named ${pkcs11Example}`

// A pasted PIN may stand in the URI: nothing of its values is repeated.
const bad = (what: string, more = hint): ZtError =>
  new ZtError('BAD_FORMAT', `kms key: pkcs11 URI: ${what}`, { hint: more })

function decode(text: string): Bytes {
  const parts: Bytes[] = []
  const pattern = /%([0-9a-fA-F]{2})|([A-Za-z0-9._~:[\]@!$'()*+,=/-]+)/gy // RFC 7512 §2.3, without `&`
  let at = 0
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const [all, escaped, plain = ''] = match
    parts.push(escaped === undefined ? utf8(plain) : Uint8Array.of(Number.parseInt(escaped, 16)))
    at += all.length
  }
  if (at !== text.length) throw bad('a value holds a character that must be percent-encoded')
  return concat(...parts)
}

const percent = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
const encodeText = (text: string): string =>
  [...utf8(text)]
    .map(byte =>
      /[A-Za-z0-9._~-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : percent(byte),
    )
    .join('')

/** What follows `pkcs11:` in the stored form. Inverse of parsePkcs11Name. */
export function formatPkcs11Name({ token, serial, object, id }: Pkcs11Name): string {
  return [
    `token=${encodeText(token)}`,
    ...(serial === undefined ? [] : [`serial=${encodeText(serial)}`]),
    `object=${encodeText(object)}`,
    ...(id === undefined ? [] : [`id=${[...id].map(percent).join('')}`]),
  ].join(';')
}

/** From the stored form alone. @throws BAD_FORMAT */
export function parsePkcs11Name(text: string): Pkcs11Name {
  if (text.includes('?')) throw bad('a stored name has no query')
  const { name } = readPkcs11Uri(text)
  if (formatPkcs11Name(name) !== text) throw bad('not in canonical form')
  return name
}

const control = /\p{Cc}/u

function textOf(attribute: string, text: string, maxBytes: number): string {
  const bytes = decode(text)
  if (bytes.length === 0 || bytes.length > maxBytes)
    throw bad(`${attribute}: expected 1 to ${maxBytes} bytes, got ${bytes.length}`)
  const value = fromUtf8(bytes, `kms key: pkcs11 URI: ${attribute}`)
  if (control.test(value)) throw bad(`${attribute}: holds a control character`)
  return value
}

function pairs(text: string, separator: string): Map<string, string> {
  const found = new Map<string, string>()
  for (const part of text === '' ? [] : text.split(separator)) {
    const [, key, value] = /^([a-z-]+)=(.*)$/s.exec(part) ?? []
    if (key === undefined || value === undefined) throw bad('expected NAME=VALUE attributes')
    if (found.has(key)) throw bad(`${key} stands there twice`)
    found.set(key, value)
  }
  return found
}

function idOf(text: string): Bytes {
  const id = decode(text)
  if (id.length === 0 || id.length > 32) throw bad(`id: expected 1 to 32 bytes, got ${id.length}`)
  return id
}

/** What follows `pkcs11:` as a person types it: attributes in any order, any spelling. @throws BAD_FORMAT */
export function readPkcs11Uri(text: string): { name: Pkcs11Name; access: Pkcs11Access } {
  const [path = '', ...queries] = text.split('?')
  if (queries.length > 1) throw bad('has two queries')
  const attributes = pairs(path, ';')
  const take = (attribute: string): string | undefined => {
    const value = attributes.get(attribute)
    attributes.delete(attribute)
    return value
  }
  const [token, serial, object, id, type] = ['token', 'serial', 'object', 'id', 'type'].map(take)
  const [unknown] = attributes.keys()
  if (unknown !== undefined)
    throw bad(`unknown attribute ${unknown}`, 'known are token, serial, object, id, type')
  if (type !== undefined && type !== 'secret-key') throw bad('type: only secret-key can wrap')
  if (token === undefined || object === undefined)
    throw bad('token and object are needed: the token and the label of the key')
  const name: Pkcs11Name = {
    token: textOf('token', token, 32),
    object: textOf('object', object, 64),
    ...(serial === undefined ? {} : { serial: textOf('serial', serial, 16) }),
    ...(id === undefined ? {} : { id: idOf(id) }),
  }
  return { name, access: accessOf(queries[0] ?? '') }
}

function accessOf(query: string): Pkcs11Access {
  const attributes = pairs(query, '&')
  if (attributes.has('pin-value'))
    throw bad(
      'pin-value is refused: arguments are visible to everybody on this machine',
      'put the PIN into a private file and name it: pin-source=file:/path',
    )
  const modulePath = attributes.get('module-path')
  const pinSource = attributes.get('pin-source')
  attributes.delete('module-path')
  attributes.delete('pin-source')
  const [unknown] = attributes.keys()
  if (unknown !== undefined)
    throw bad(`unknown attribute ${unknown}`, 'known behind ? are module-path and pin-source')
  return {
    ...(modulePath === undefined ? {} : { modulePath: pathOf('module-path', modulePath) }),
    ...(pinSource === undefined
      ? {}
      : { pinFile: pathOf('pin-source', pinSource.replace(/^file:(?:\/\/(?=\/))?/, '')) }),
  }
}

/** RFC 7512 also has `|COMMAND`, which would be a way to run one. */
function pathOf(attribute: string, text: string): string {
  const path = textOf(attribute, text, 4096)
  if (!path.startsWith('/')) throw bad(`${attribute}: expected the absolute path of a file`)
  return path
}
