/** `pq_envelope_cli recover`: a sealed copy back into a key file, or a drill that it would do, without writing anything. */
import { basename } from 'node:path'
import { type Bytes, equal, fromUtf8 } from '../core/bytes.ts'
import { issuerPublicKey } from '../core/envelope/issuer.ts'
import { kemPublicKey } from '../core/envelope/kem.ts'
import { formatKemFile, type KeyFile, parseIssuerFile, parseKemFile } from '../core/envelope/key_files.ts'
import { openSealedFile } from '../core/envelope/sealed_file.ts'
import { ZtError } from '../core/errors.ts'
import type { TrustedTenant } from '../core/trust.ts'
import { createExclusive, readPrivateFile } from '../edge/files.ts'
import { readPassphrase } from '../edge/prompt.ts'
import { readTrust } from '../edge/trust.ts'
import { type ClientFlags, type Warn, withClient } from './actions.ts'
import { shortFingerprint } from './files.ts'

export interface RecoverFlags extends ClientFlags {
  passphraseFile?: string
  check?: boolean
  out?: string
}

interface Copy extends KeyFile {
  kind: 'ML-KEM key' | 'issuer key'
}

function openCopy(path: string, passphrase: string): Copy {
  const name = basename(path)
  const inner = openSealedFile(name, readPrivateFile(path, 'sealed copy'), passphrase)
  try {
    const text = fromUtf8(inner, name)
    return text.includes('"ztmysql-issuer"')
      ? { kind: 'issuer key', ...parseIssuerFile(text, name) }
      : { kind: 'ML-KEM key', ...parseKemFile(text, name) }
  } finally {
    inner.fill(0)
  }
}

/** Which key of the trust folder it is. @throws VERIFY_FAILED where it is none: it would open or sign nothing */
function placeOf({ kind, seed }: Copy, path: string, tenant: TrustedTenant): 'newest' | 'earlier' {
  const own = kind === 'issuer key' ? issuerPublicKey(seed) : kemPublicKey(seed)
  const known: readonly Bytes[] = kind === 'issuer key' ? tenant.issuers : tenant.kems
  const at = known.findLastIndex(one => equal(one, own))
  if (at >= 0) return at === known.length - 1 ? 'newest' : 'earlier'
  throw new ZtError('VERIFY_FAILED', `${path}: is no ${kind} of tenant ${tenant.label} in the trust folder`, {
    hint: 'look for the copy of the right pair; keep this one until you know what it opens',
  })
}

/** One line of JSON. @throws BAD_PASSPHRASE, VERIFY_FAILED, REFUSED (another tenant's), CONFLICT (--out exists) */
export async function recover(path: string, flags: RecoverFlags, warn: Warn): Promise<string> {
  if ((flags.check === true) === (flags.out !== undefined))
    throw new ZtError('USAGE', 'recover wants either --check, a drill that writes nothing, or --out FILE')
  const passphrase = await readPassphrase({ file: flags.passphraseFile, prompt: `Passphrase of ${path}` })
  const copy = openCopy(path, passphrase)
  try {
    const trust = readTrust(flags.trust, { caSha256: flags.caSha256 })
    const tenant = trust.tenants.find(({ id }) => id === copy.tenant)
    if (
      tenant === undefined ||
      (flags.tenant !== undefined && ![tenant.id, tenant.label].includes(flags.tenant))
    )
      throw new ZtError('REFUSED', `${path}: is the key of tenant ${tenant?.label ?? copy.tenant}`, {
        hint: 'name the copy that belongs to this tenant, or its trust folder',
      })
    const place = placeOf(copy, path, tenant)
    const said = { copy: path, kind: copy.kind, tenant: tenant.label, key: place }
    if (flags.out !== undefined) {
      if (copy.kind === 'issuer key')
        throw new ZtError('USAGE', `${path}: an issuer key is used as it lies, sealed`, {
          hint: 'copy the file to issuers/ under the same name',
        })
      createExclusive(flags.out, formatKemFile(copy))
      return JSON.stringify({ ...said, out: flags.out })
    }
    if (copy.kind === 'issuer key') return JSON.stringify(said)
    const fingerprint = shortFingerprint(kemPublicKey(copy.seed))
    return JSON.stringify({ ...said, fingerprint, ...(await drill(copy.seed, path, flags, warn)) })
  } finally {
    copy.seed.fill(0)
  }
}

/** With the copy alone, opens every active data key that is wrapped for it, and the first row. */
function drill(seed: Bytes, path: string, flags: RecoverFlags, warn: Warn) {
  return withClient(
    flags,
    warn,
    async ({ client }) => {
      const { opened, others } = await client.checkKeys()
      if (opened === 0)
        throw new ZtError('VERIFY_FAILED', `${path}: no active data key is wrapped for this ML-KEM key`, {
          hint: `${others} are wrapped otherwise: drill with the copy of the newest pair`,
        })
      let rows = 0
      if (others === 0)
        for await (const _ of client.all(flags.table)) {
          rows = 1
          break
        }
      return { dataKeys: opened, otherDataKeys: others, rows }
    },
    { kemSeeds: [seed] },
  )
}
