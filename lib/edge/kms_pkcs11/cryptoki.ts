/**
 * A PKCS#11 module (OASIS PKCS #11 v2.40) through bun:ffi: the few functions that wrap a key. Every call blocks until the
 * module answers, so this runs in a process of its own (child.ts). Only C_GetFunctionList is looked up by name, as the
 * standard has it. CK_ULONG is 8 bytes: 64-bit Linux and macOS.
 */
import { dlopen, type FFIFunction, linkSymbols, type Pointer, ptr, read } from 'bun:ffi'
import { type Bytes, fromUtf8 } from '../../core/bytes.ts'

/** A function of the module that did not return CKR_OK. */
export class CryptokiError extends Error {
  readonly call: string
  readonly rv: number

  constructor(call: string, rv: number) {
    super(`${call}: 0x${rv.toString(16)}`)
    this.call = call
    this.rv = rv
  }
}

export interface Token {
  readonly slot: bigint
  readonly label: string
  readonly serial: string
}

export interface TokenKey {
  readonly handle: bigint
  readonly label: string
  /** CKA_ID; empty where the key has none. */
  readonly id: Bytes
  readonly aes: boolean
  /** Bytes. */
  readonly length: number
  readonly sensitive: boolean
  readonly extractable: boolean
  readonly encrypts: boolean
  readonly decrypts: boolean
}

export interface Cryptoki {
  /** Every initialised token. */
  tokens(): Token[]
  /** A session of the user. @throws CryptokiError, of a wrong PIN for one */
  login(slot: bigint, pin: Bytes): bigint
  /** The token that a session works with. */
  tokenOf(session: bigint): Token
  /** AES keys of that label that the token holds. */
  keys(session: bigint, label: string): TokenKey[]
  /** A key's attributes, read again. */
  key(session: bigint, handle: bigint): TokenKey
  /** CKM_AES_GCM with a tag of 16 bytes; returns the nonce that was used, and ciphertext ‖ tag. */
  encrypt(
    session: bigint,
    handle: bigint,
    nonce: Bytes,
    aad: Bytes,
    data: Bytes,
  ): [nonce: Bytes, sealed: Bytes]
  decrypt(session: bigint, handle: bigint, nonce: Bytes, aad: Bytes, sealed: Bytes): Bytes
}

const CKF_SERIAL_SESSION = 4n
const CKF_TOKEN_INITIALIZED = 0x400n
const CKU_USER = 1n
const CKM_AES_GCM = 0x1087n
const CKO_SECRET_KEY = 4n
const CKK_AES = 0x1fn
const attribute = {
  class: 0n,
  token: 1n,
  label: 3n,
  keyType: 0x100n,
  id: 0x102n,
  sensitive: 0x103n,
  encrypt: 0x104n,
  decrypt: 0x105n,
  valueLength: 0x161n,
  extractable: 0x162n,
}

/** Place in CK_FUNCTION_LIST, counted in pointers behind the version, and the arguments. */
const functions = {
  C_Initialize: [0, ['ptr']],
  C_GetSlotList: [4, ['u8', 'ptr', 'ptr']],
  C_GetTokenInfo: [6, ['u64', 'ptr']],
  C_OpenSession: [12, ['u64', 'u64', 'ptr', 'ptr', 'ptr']],
  C_GetSessionInfo: [15, ['u64', 'ptr']],
  C_Login: [18, ['u64', 'u64', 'ptr', 'u64']],
  C_GetAttributeValue: [24, ['u64', 'u64', 'ptr', 'u64']],
  C_FindObjectsInit: [26, ['u64', 'ptr', 'u64']],
  C_FindObjects: [27, ['u64', 'ptr', 'u64', 'ptr']],
  C_FindObjectsFinal: [28, ['u64']],
  C_EncryptInit: [29, ['u64', 'ptr', 'u64']],
  C_Encrypt: [30, ['u64', 'ptr', 'u64', 'ptr', 'ptr']],
  C_DecryptInit: [33, ['u64', 'ptr', 'u64']],
  C_Decrypt: [34, ['u64', 'ptr', 'u64', 'ptr', 'ptr']],
} as const
type Name = keyof typeof functions
type Argument = number | bigint | Uint8Array | BigUint64Array | null
type Native = (...args: (number | bigint | null)[]) => unknown
type Call = (name: Name, ...args: Argument[]) => void

const CKR_OK = 0
const CKR_ATTRIBUTE_TYPE_INVALID = 0x12
const CKR_ATTRIBUTE_SENSITIVE = 0x11

/** Loads and initialises. @throws Error where it is no module, CryptokiError */
export function loadCryptoki(path: string): Cryptoki {
  const { symbols } = dlopen(path, { C_GetFunctionList: { args: ['ptr'], returns: 'u64' } })
  const list = new BigUint64Array(1)
  const got = Number(symbols.C_GetFunctionList(ptr(list)))
  if (got !== CKR_OK || list[0] === undefined || list[0] === 0n)
    throw new CryptokiError('C_GetFunctionList', got)
  const address = Number(list[0]) as Pointer
  const entries = Object.entries(functions).map(([name, [place, args]]): [string, FFIFunction] => [
    name,
    { ptr: read.ptr(address, 8 + 8 * place) as Pointer, args: [...args], returns: 'u64' },
  ])
  const linked = linkSymbols(Object.fromEntries(entries)).symbols as unknown as Record<string, Native>
  const call: Call = (name, ...args) => {
    const native = args.map(arg =>
      arg === null || typeof arg === 'number' || typeof arg === 'bigint' ? arg : addressOf(arg),
    )
    const rv = Number(linked[name]?.(...native))
    if (rv !== CKR_OK) throw new CryptokiError(name, rv)
  }
  call('C_Initialize', null)
  return over(call)
}

/** Null for nothing: a pointer to no bytes is none. */
const addressOf = (bytes: Uint8Array | BigUint64Array): number | null =>
  bytes.byteLength === 0 ? null : ptr(bytes)

/** A structure of CK_ULONG and pointers. What it points to must be kept by the caller until the call has returned. */
const struct = (...words: (bigint | Uint8Array)[]): BigUint64Array =>
  BigUint64Array.from(words.map(word => (typeof word === 'bigint' ? word : BigInt(addressOf(word) ?? 0))))

const wordBytes = (word: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(word).buffer)

function over(call: Call): Cryptoki {
  const tokenAt = (slot: bigint): Token & { initialized: boolean } => {
    const info = new Uint8Array(256) // CK_TOKEN_INFO: 208 bytes
    call('C_GetTokenInfo', slot, info)
    const flags = new DataView(info.buffer).getBigUint64(96, true)
    return {
      slot,
      label: padded(info.subarray(0, 32)),
      serial: padded(info.subarray(80, 96)),
      initialized: (flags & CKF_TOKEN_INITIALIZED) !== 0n,
    }
  }

  /** The bytes of an attribute; undefined where the key does not have it. */
  const attributeOf = (session: bigint, handle: bigint, type: bigint): Bytes | undefined => {
    const value = new Uint8Array(256)
    const template = struct(type, value, BigInt(value.length))
    try {
      call('C_GetAttributeValue', session, handle, template, 1n)
    } catch (thrown) {
      const { rv } = thrown as { rv?: unknown }
      if (rv === CKR_ATTRIBUTE_TYPE_INVALID || rv === CKR_ATTRIBUTE_SENSITIVE) return undefined
      throw thrown
    }
    const length = Number(template[2])
    return length <= value.length ? value.slice(0, length) : undefined
  }

  const key = (session: bigint, handle: bigint): TokenKey => {
    const bytes = (type: bigint) => attributeOf(session, handle, type) ?? new Uint8Array(0)
    const flag = (type: bigint) => bytes(type)[0] === 1
    const word = (type: bigint): bigint => {
      const value = bytes(type)
      return value.length === 8 ? (new BigUint64Array(value.slice().buffer)[0] ?? -1n) : -1n
    }
    return {
      handle,
      label: fromUtf8(bytes(attribute.label), 'CKA_LABEL'),
      id: bytes(attribute.id),
      aes: word(attribute.class) === CKO_SECRET_KEY && word(attribute.keyType) === CKK_AES,
      length: Number(word(attribute.valueLength)),
      sensitive: flag(attribute.sensitive),
      // What does not say that it stays inside may be taken outside.
      extractable: bytes(attribute.extractable)[0] !== 0,
      encrypts: flag(attribute.encrypt),
      decrypts: flag(attribute.decrypt),
    }
  }

  const crypt = (
    verb: 'Encrypt' | 'Decrypt',
    session: bigint,
    handle: bigint,
    nonce: Bytes,
    aad: Bytes,
    data: Bytes,
  ): [Bytes, Bytes] => {
    const iv = nonce.slice() // a token that chooses nonces itself writes its own here
    const context = aad.slice()
    const input = data.slice()
    const output = new Uint8Array(data.length + 64)
    const outputLength = BigUint64Array.of(BigInt(output.length))
    const gcm = struct(iv, BigInt(iv.length), BigInt(iv.length * 8), context, BigInt(context.length), 128n)
    const parameters = new Uint8Array(gcm.buffer)
    const mechanism = struct(CKM_AES_GCM, parameters, BigInt(parameters.length))
    try {
      call(`C_${verb}Init`, session, mechanism, handle)
      call(`C_${verb}`, session, input, BigInt(input.length), output, outputLength)
      return [iv, output.slice(0, Number(outputLength[0]))]
    } finally {
      input.fill(0)
      output.fill(0)
    }
  }

  return {
    tokens: () => {
      const count = new BigUint64Array(1)
      call('C_GetSlotList', 1, null, count)
      const slots = new BigUint64Array(Number(count[0]) + 1)
      count[0] = BigInt(slots.length)
      call('C_GetSlotList', 1, slots, count)
      return [...slots.subarray(0, Number(count[0]))].map(tokenAt).filter(token => token.initialized)
    },
    login: (slot, pin) => {
      const session = new BigUint64Array(1)
      call('C_OpenSession', slot, CKF_SERIAL_SESSION, null, null, session)
      call('C_Login', session[0] ?? 0n, CKU_USER, pin, BigInt(pin.length))
      return session[0] ?? 0n
    },
    tokenOf: session => {
      const info = new BigUint64Array(4) // CK_SESSION_INFO: slotID, state, flags, ulDeviceError
      call('C_GetSessionInfo', session, info)
      return tokenAt(info[0] ?? 0n)
    },
    keys: (session, label) => {
      const labelBytes = new TextEncoder().encode(label)
      const [kind, type, yes] = [wordBytes(CKO_SECRET_KEY), wordBytes(CKK_AES), Uint8Array.of(1)]
      const template = struct(
        ...[attribute.class, kind, 8n],
        ...[attribute.keyType, type, 8n],
        ...[attribute.token, yes, 1n],
        ...[attribute.label, labelBytes, BigInt(labelBytes.length)],
      )
      call('C_FindObjectsInit', session, template, 4n)
      const found = new BigUint64Array(1_000)
      const count = new BigUint64Array(1)
      try {
        call('C_FindObjects', session, found, BigInt(found.length), count)
      } finally {
        call('C_FindObjectsFinal', session)
      }
      // Some tokens compare labels their own way.
      return [...found.subarray(0, Number(count[0]))]
        .map(handle => key(session, handle))
        .filter(known => known.label === label)
    },
    key,
    encrypt: (session, handle, nonce, aad, data) => crypt('Encrypt', session, handle, nonce, aad, data),
    decrypt: (session, handle, nonce, aad, sealed) =>
      crypt('Decrypt', session, handle, nonce, aad, sealed)[1],
  }
}

/** PKCS#11 pads texts with blanks. */
const padded = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replace(/[ \0]+$/, '')
