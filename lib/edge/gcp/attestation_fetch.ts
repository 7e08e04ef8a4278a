/** The attestation of a key's primary version, which gcloud leaves out of every answer and gives in files of its own. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { toBase64 } from '../../core/bytes.ts'
import type { Attestation } from '../../core/gcp/evidence.ts'
import { type ObservedKey, readAnswer } from '../../core/gcp/observed.ts'
import { readRegularFile } from '../files.ts'
import type { Gcloud } from './gcloud.ts'

const versionSchema = z.object({ attestation: z.object({ format: z.string() }).optional() })

const maxBytes = 1 << 20

/** Certificates of a text, each with its frame. */
const pems = (text: string): string[] =>
  text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)?.map(pem => `${pem}\n`) ?? []

/** null where the version is in no HSM, or has no attestation. */
export async function attestationOf(gcloud: Gcloud, { primary }: ObservedKey): Promise<Attestation | null> {
  if (primary === undefined || primary.protectionLevel !== 'HSM') return null
  const dir = mkdtempSync(join(tmpdir(), 'ztmysql-attestation-'))
  try {
    const file = join(dir, 'attestation')
    const versions = ['kms', 'keys', 'versions']
    const described = await gcloud.run([
      ...versions,
      ...['describe', primary.name, '--attestation-file', file, '--format', 'json'],
    ])
    const { attestation } = readAnswer(described, versionSchema, 'kms keys versions describe')
    if (attestation === undefined) return null
    const chain = async (type: string): Promise<string[]> =>
      pems(
        await gcloud.run([
          ...versions,
          ...['get-certificate-chain', primary.name, '--certificate-chain-type', type],
        ]),
      )
    return {
      format: attestation.format,
      content: toBase64(readRegularFile(file, 'attestation', maxBytes)),
      certChains: {
        caviumCerts: await chain('cavium'),
        googleCardCerts: await chain('google-card'),
        googlePartitionCerts: await chain('google-partition'),
      },
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
