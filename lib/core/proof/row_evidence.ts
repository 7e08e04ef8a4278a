/** What the rows of a trail's export say about ciphertext and keys: collected while they stream by. */
import { sha256 } from '@noble/hashes/sha2.js'
import { type Bytes, toHex } from '../bytes.ts'
import { dataKeyFromRow } from '../envelope/data_key.ts'
import { verifyIssue } from '../envelope/issuer.ts'
import { reason } from '../errors.ts'
import { nonceLength, type Row, type TableDefinition, tagLength } from '../tables.ts'
import type { Trust, TrustedTenant } from '../trust.ts'

const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * True for bytes that a person could read: valid UTF-8 without control characters. Random bytes are so by chance:
 * 16 of them once in 400,000, 28 once in five thousand million.
 */
export function readsAsText(bytes: Bytes): boolean {
  try {
    return !/[\p{Cc}\p{Cn}\p{Co}]/u.test(decoder.decode(bytes))
  } catch {
    return false // not UTF-8, hence not text
  }
}

const isLongText = (bytes: Bytes): boolean => bytes.length >= nonceLength + tagLength && readsAsText(bytes)

export class RowEvidence {
  readonly ciphertextFaults: string[] = []
  readonly keyFaults: string[] = []
  readonly hybridFaults: string[] = []
  cells = 0
  keys = 0
  hybridKeys = 0
  readonly #tenants: Map<string, TrustedTenant>

  constructor(trust: Pick<Trust, 'tenants'>) {
    this.#tenants = new Map(trust.tenants.map(tenant => [tenant.id, tenant]))
  }

  add(def: TableDefinition, row: Row): void {
    if (row.state === def.states[1] && def.sealed) return // erased: nothing is left
    const where = `${def.table} ${String(row[def.key.name])}`
    for (const column of def.columns)
      if (column.kind === 'sealed')
        this.#addCell(`${where} ${column.name}`, row[column.name] ?? null, column.optional)
    if (def.table === 'data_keys') this.#addKey(where, row)
  }

  #addCell(where: string, cell: unknown, optional: boolean): void {
    if (cell === null && optional) return
    this.cells++
    if (!(cell instanceof Uint8Array) || cell.length < nonceLength + tagLength)
      this.ciphertextFaults.push(`${where} is shorter than a nonce and a tag`)
    else if (readsAsText(cell) || isLongText(cell.subarray(nonceLength)))
      this.ciphertextFaults.push(`${where} reads as text`)
  }

  #addKey(where: string, row: Row): void {
    const tenant = this.#tenants.get(String(row.tenant_id))
    // the probes write unreadable bytes for their fixture tenants: no KMS is within reach of the host
    if (tenant?.fixture) return
    this.keys++
    try {
      if (!tenant) throw new Error(`tenant ${row.tenant_id} is not in the trust folder`)
      const key = dataKeyFromRow(row)
      if (!tenant.kmsKeys.includes(key.kmsKey))
        throw new Error(`${key.kmsKey} is not a KMS key of tenant ${tenant.label} in the trust folder`)
      const { issuer, issuerSig } = key
      if (issuer === null || issuerSig === null) throw new Error('no issuer signed it')
      verifyIssue({ ...key, issuer, issuerSig }, key.purpose, tenant.issuers)
      if (key.suite === 'kms+ml-kem-768') this.#addHybrid(where, key.kemFingerprint, tenant)
    } catch (thrown) {
      this.keyFaults.push(`${where}: ${reason(thrown)}`)
    }
  }

  #addHybrid(where: string, fingerprint: Bytes | null, tenant: TrustedTenant): void {
    this.hybridKeys++
    const known = tenant.kems.map(publicKey => toHex(sha256(publicKey)))
    if (fingerprint === null || !known.includes(toHex(fingerprint)))
      this.hybridFaults.push(`${where}: its KEM key is not one of tenant ${tenant.label} in the trust folder`)
  }
}
