/** `anchor_key.json`: the private keys of one log (SPEC §4.6). */
import { z } from 'zod'
import { type Bytes, checkLength, fromBase64, toBase64 } from '../bytes.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { checkOrigin, isOrigin } from '../origin.ts'
import type { AnchorKey } from './checkpoint.ts'

const schema = z.strictObject({
  v: z.literal(1),
  name: z.string().refine(isOrigin),
  ed25519: z.string(),
  mldsa44: z.string(),
})

export function formatAnchorKey(key: AnchorKey): string {
  const seed = (bytes: Bytes, what: string) => toBase64(checkLength(bytes, what, 32))
  return formatCanonical(
    {
      v: 1,
      name: checkOrigin(key.name, 'key name'),
      ed25519: seed(key.ed25519, 'ed25519 seed'),
      mldsa44: seed(key.mldsa44, 'mldsa44 seed'),
    },
    true,
  )
}

/** @throws BAD_FORMAT, BAD_LENGTH, NEWER_FORMAT; the message repeats nothing of the file */
export function parseAnchorKey(source: Bytes | string, what = 'anchor key'): AnchorKey {
  const key = parse(source, what)
  return {
    name: key.name,
    ed25519: fromBase64(key.ed25519, `${what}: ed25519`, 32),
    mldsa44: fromBase64(key.mldsa44, `${what}: mldsa44`, 32),
  }
}

function parse(source: Bytes | string, what: string): z.infer<typeof schema> {
  try {
    return parseCanonical(source, schema, what, { maxBytes: 4096, newline: true })
  } catch (thrown) {
    if (thrown instanceof ZtError && thrown.code === 'NEWER_FORMAT') throw thrown
    // a JSON error quotes its source, which may be another secret
    throw new ZtError('BAD_FORMAT', `${what}: not an anchor key file`, {
      hint: 'expected the anchor_key.json of pki_server.tar.gz',
    })
  }
}
