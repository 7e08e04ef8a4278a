/** A key in an HSM, through its PKCS#11 module (SPEC §3.2, docs/adr: the module in a process of its own). */
import { statSync } from 'node:fs'
import { type Bytes, concat, equal, fromUtf8, utf8 } from '../core/bytes.ts'
import { crc32c } from '../core/crc32c.ts'
import { ZtError } from '../core/errors.ts'
import { parseKmsUri } from '../core/kms_uri.ts'
import { type Pkcs11Name, parsePkcs11Name } from '../core/pkcs11_uri.ts'
import { readPrivateFile } from './files.ts'
import { type KmsProvider, requireOpened } from './kms.ts'
import { callKms, DamagedAnswer, KmsFailure, statusNumber } from './kms_call.ts'
import { readPkcs11Access } from './kms_config.ts'
import { bytesPart, textPart } from './kms_pkcs11/frames.ts'
import { type ModuleProcess, startModule } from './kms_pkcs11/process.ts'
import { readPassphrase } from './prompt.ts'

const checksumLength = 4

/** What goes into the token: the plaintext and its CRC32C, so that a damaged answer is told from a good one. */
function withChecksum(plaintext: Bytes): Bytes {
  const sum = new Uint8Array(checksumLength)
  new DataView(sum.buffer).setUint32(0, crc32c(plaintext))
  return concat(plaintext, sum)
}

function withoutChecksum(payload: Bytes): Bytes {
  const plaintext = payload.slice(0, Math.max(0, payload.length - checksumLength))
  const again = withChecksum(plaintext)
  const same = equal(again, payload)
  again.fill(0)
  if (same) return plaintext
  plaintext.fill(0)
  throw new DamagedAnswer('CRC32C of the plaintext does not match')
}

/** From the file, or typed unseen. @throws USAGE, BAD_INPUT, as readPrivateFile */
async function readPin(file: string | undefined, name: Pkcs11Name): Promise<Bytes> {
  if (file === undefined) {
    if (!process.stdin.isTTY)
      throw new ZtError('USAGE', `pkcs11: no PIN of token ${name.token}: there is no terminal to ask on`, {
        hint: 'name a private file with --pin-file, PKCS11_PIN_FILE, or pin-source=file:/… in the URI',
      })
    return utf8(await readPassphrase({ prompt: `PIN of token ${name.token}` }))
  }
  const bytes = readPrivateFile(file, 'PIN file')
  try {
    const pin = fromUtf8(bytes, `PIN file ${file}`).replace(/\r?\n$/, '')
    if (/^[^\p{Cc}]{1,255}$/u.test(pin)) return utf8(pin)
  } finally {
    bytes.fill(0)
  }
  throw new ZtError('BAD_INPUT', `PIN file ${file}: expected one line of text without control characters`, {
    hint: 'write the PIN, and nothing else, on one line',
  })
}

/** A key that answered for another would seal what never opens again, or opens for somebody else. */
function requireKey(name: Pkcs11Name, answer: readonly Bytes[], action: string): Bytes {
  const [token, serial, object] = [1, 2, 3].map(at => textPart(answer, at))
  const id = bytesPart(answer, 4)
  const same =
    token === name.token &&
    object === name.object &&
    (name.serial === undefined || serial === name.serial) &&
    (name.id === undefined || equal(id, name.id))
  if (same) return bytesPart(answer, 0)
  throw new ZtError('KMS', `${action}: the answer was made with another key`, {
    hint: 'nothing of it was used: find out what stands between this client and the token',
  })
}

export const openPkcs11: KmsProvider = async ({ keyUri, selection, limits }) => {
  const name = parsePkcs11Name(parseKmsUri(keyUri).name)
  const { module, pinFile } = readPkcs11Access(selection)
  if (statSync(module, { throwIfNoEntry: false })?.isFile() !== true)
    throw new ZtError('NOT_FOUND', `pkcs11: module ${module}: no such file`, {
      hint: 'install the library of the HSM, or name it with --pkcs11-module',
    })
  const pin = await readPin(pinFile, name)
  let running: ModuleProcess | undefined
  let closed = false
  let turn: Promise<unknown> = Promise.resolve()
  // A wrong PIN is never sent twice: the token counts, and locks itself.
  let refused: KmsFailure | undefined

  const attempt = async (request: readonly (Bytes | string)[], deadline: number): Promise<Bytes[]> => {
    const left = () => Math.max(1, Math.ceil(deadline - performance.now()))
    if (closed) throw new KmsFailure('CANCELLED', 'the connection was closed')
    if (refused !== undefined) throw refused
    if (performance.now() >= deadline) throw new KmsFailure('DEADLINE_EXCEEDED', 'others were first')
    try {
      if (running?.alive !== true) {
        running = startModule(selection.pkcs11Program)
        await running.ask(['open', module, keyUri.slice('pkcs11:'.length), pin], left())
      }
      return await running.ask(request, left())
    } catch (thrown) {
      if (thrown instanceof KmsFailure) {
        if (thrown.code === unauthenticated) refused = thrown
        // Where nobody knows the state of the module, the next attempt begins anew.
        if (!plainRefusals.has(thrown.code)) running?.kill()
      }
      throw thrown
    }
  }

  const call = (verb: 'encrypt' | 'decrypt', key: string, data: Bytes, aad: Bytes): Promise<Bytes> => {
    requireOpened(key, keyUri)
    const action = `kms: ${verb} with ${keyUri} through ${module}`
    const once = (timeoutMs: number): Promise<Bytes> => {
      const deadline = performance.now() + timeoutMs
      const mine = turn.then(() => attempt([verb, data, aad], deadline))
      turn = mine.catch(() => undefined) // whoever waits for it hears of it
      return mine.then(answer => {
        const output = requireKey(name, answer, action)
        return verb === 'encrypt' ? output : withoutChecksum(output)
      })
    }
    return callKms(action, limits, () => true, once)
  }

  return {
    provider: 'pkcs11',
    keyUri,
    endpoint: module,
    encrypt: async (key, plaintext, aad, version) => {
      if (version !== undefined)
        throw new ZtError('REFUSED', 'pkcs11: versions of a key have no numbers', {
          hint: 'name one version by its id in the URI: pkcs11:token=T;object=K;id=%02',
        })
      const payload = withChecksum(plaintext)
      try {
        return await call('encrypt', key, payload, aad)
      } finally {
        payload.fill(0)
      }
    },
    decrypt: (key, ciphertext, aad) => call('decrypt', key, ciphertext, aad),
    close: async () => {
      closed = true
      running?.kill()
      pin.fill(0)
    },
  }
}

const plainRefusals: ReadonlySet<number> = new Set(
  (['INVALID_ARGUMENT', 'NOT_FOUND', 'PERMISSION_DENIED', 'FAILED_PRECONDITION'] as const).map(statusNumber),
)
const unauthenticated = statusNumber('UNAUTHENTICATED')
