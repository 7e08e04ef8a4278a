/** `pq_envelope_cli rotate`: from options to one line of JSON a step. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { blindPurpose, recordPurpose } from '../core/envelope/key_name.ts'
import { ZtError } from '../core/errors.ts'
import { formatCanonical, parseCanonical } from '../core/json.ts'
import { lockDir, makePrivateDir, readPrivateFile, removeFile, writeFileAtomic } from '../edge/files.ts'
import { resolveKmsKey } from '../edge/kms.ts'
import { readPassphrase } from '../edge/prompt.ts'
import { allPurposes, type ClientFlags, kmsOptions, type Warn, withClient } from './actions.ts'
import { readIssuerSeed } from './files.ts'

export interface RotateFlags extends ClientFlags {
  plan?: boolean
  dek?: boolean
  blind?: string[]
  wraps?: boolean
  pq?: boolean
  issuer?: string
  passphraseFile?: string
  /** Seconds. */
  patience: number
}

const schema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-rotation'),
  tenant: z.string(),
  began: z.record(z.string(), z.int().positive()),
})

function freshPurposes({ dek, blind = [] }: RotateFlags): string[] {
  const purposes = blind.map(name => {
    const [table = '', column = ''] = name.split('.')
    const purpose = blindPurpose(table, column)
    if (!allPurposes().includes(purpose))
      throw new ZtError('USAGE', `--blind ${name}: no table has such a blind index`, {
        hint: `known: ${allPurposes()
          .filter(known => known !== recordPurpose)
          .map(known => known.slice('blind:'.length))
          .join(', ')}`,
      })
    return purpose
  })
  return [...(dek === true ? [recordPurpose] : []), ...purposes]
}

/** Where an unfinished `--wraps` is remembered: nothing in a wrap says under which version of the KMS key it is. */
const memory = (flags: RotateFlags): string => join(flags.receipts, 'rotation.wraps')

function readBegan(flags: RotateFlags, tenant: string): Map<string, number> | undefined {
  const path = memory(flags)
  if (flags.wraps !== true || !existsSync(path)) return undefined
  const bounds = { maxBytes: 1 << 24, newline: true }
  const parsed = parseCanonical(readPrivateFile(path, 'rotation'), schema, `rotation ${path}`, bounds)
  if (parsed.tenant !== tenant) throw new ZtError('REFUSED', `rotation ${path}: is of another tenant`)
  return new Map(Object.entries(parsed.began))
}

export async function rotate(flags: RotateFlags, print: (line: string) => void, warn: Warn): Promise<void> {
  const fresh = freshPurposes(flags)
  await withClient(flags, warn, async ({ client, identity }) => {
    makePrivateDir(flags.receipts)
    const release = lockDir(flags.receipts)
    let issuerSeed: Uint8Array | undefined
    try {
      const { tenant } = identity
      if (fresh.length > 0 && flags.plan !== true) {
        const issuer = flags.issuer ?? join('issuers', `${tenant.label}-issuer.json`)
        const prompt = `Passphrase of ${issuer}`
        const passphrase = await readPassphrase({ file: flags.passphraseFile, prompt })
        issuerSeed = readIssuerSeed(issuer, passphrase, tenant)
      }
      if (flags.plan !== true) for (const writes of client.pendingBatches()) await client.resendBatch(writes)
      const kmsKey =
        flags.kmsKey === undefined ? undefined : resolveKmsKey(flags.kmsKey, kmsOptions(flags, warn))
      await client.rotate(
        {
          fresh,
          wraps: flags.wraps === true,
          kmsKey,
          hybrid: flags.pq === true,
          planOnly: flags.plan === true,
          patience: { seconds: flags.patience, warn },
          began: readBegan(flags, tenant.id),
          onBegin: began => {
            const body = {
              v: 1,
              kind: 'ztmysql-rotation',
              tenant: tenant.id,
              began: Object.fromEntries(began),
            }
            writeFileAtomic(memory(flags), formatCanonical(body, true))
          },
          tell: step => print(JSON.stringify(step)),
        },
        issuerSeed,
      )
      if (flags.wraps === true && flags.plan !== true) removeFile(memory(flags))
    } finally {
      issuerSeed?.fill(0)
      release()
    }
  })
}
