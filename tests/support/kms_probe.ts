/**
 * A process of its own that seals and opens what stands on stdin, twice, and prints one line of JSON: for tests of what
 * the environment does to a client, from source or compiled. Usage: kms_probe KEY < SECRET
 */
import { utf8 } from '../../lib/core/bytes.ts'
import { ZtError } from '../../lib/core/errors.ts'

const [key = ''] = process.argv.slice(2)
const plaintext = new Uint8Array(await Bun.stdin.arrayBuffer())
const { openKms } = await import('../../lib/edge/kms.ts')
try {
  const answers: boolean[] = []
  let keyUri = ''
  for (let round = 0; round < 2; round++) {
    const kms = await openKms(key)
    const sealed = await kms.encrypt(kms.keyUri, plaintext, utf8('probe'))
    answers.push(Bun.deepEquals(await kms.decrypt(kms.keyUri, sealed, utf8('probe')), plaintext))
    keyUri = kms.keyUri
    await kms.close()
  }
  console.log(JSON.stringify({ keyUri, answers }))
} catch (thrown) {
  if (!(thrown instanceof ZtError)) throw thrown
  console.log(JSON.stringify({ code: thrown.code, message: thrown.message, hint: thrown.hint }))
}
