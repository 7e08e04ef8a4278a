/** The tenant's KMS keys: which ones this client talks to, and a connection to each, opened when first needed. */
import { type Bytes, random } from '../core/bytes.ts'
import { wipe } from '../core/envelope/aead.ts'
import type { KeyName } from '../core/envelope/key_name.ts'
import { type KmsLeg, kmsAad, kmsSecretLength, type Suite, type Wrap } from '../core/envelope/wrap.ts'
import { ZtError } from '../core/errors.ts'
import type { Kms } from '../edge/kms.ts'

export interface TenantKms {
  /** A fresh secret, encrypted. @param under default: the first key @throws as Kms.encrypt */
  encrypt(suite: Suite, name: KeyName, under?: string): Promise<KmsLeg>
  /** 32 bytes. @throws REFUSED where the wrap names a key that is not this tenant's; as Kms.decrypt */
  decrypt(name: KeyName, wrap: Wrap): Promise<Bytes>
  close(): Promise<void>
}

/**
 * @param keys canonical URIs; new keys are wrapped under the first
 * @param open connects to the KMS of a key
 */
export function tenantKms(keys: readonly string[], open: (key: string) => Promise<Kms>): TenantKms {
  const connections = new Map<string, Promise<Kms>>()
  /** All who ask at once wait for one; a failure is not kept. */
  const connect = (key: string): Promise<Kms> => {
    const known = connections.get(key)
    if (known !== undefined) return known
    const opened = open(key)
    connections.set(key, opened)
    opened.catch(() => connections.delete(key)) // the caller hears of it; the next one tries anew
    return opened
  }
  return {
    encrypt: async (suite, name, under) => {
      const key = under ?? keys[0]
      if (key === undefined)
        throw new ZtError('USAGE', 'no KMS key: the trust folder lists none for this tenant', {
          hint: 'name it with --kms-key',
        })
      const secret = random(kmsSecretLength)
      try {
        const kms = await connect(key)
        return { key, secret, ciphertext: await kms.encrypt(key, secret, kmsAad(suite, name)) }
      } catch (thrown) {
        wipe(secret)
        throw thrown
      }
    },
    decrypt: async (name, wrap) => {
      // The database chooses kms_key: it must not make us ask other keys, or other people's projects.
      if (!keys.includes(wrap.kmsKey))
        throw new ZtError(
          'REFUSED',
          `data key ${name.id}: is wrapped under ${wrap.kmsKey}, which is not a key of this tenant`,
          {
            hint:
              keys.length === 0
                ? 'name the tenant’s KMS key with --kms-key'
                : 'if it is the tenant’s, name it with --kms-key, or have it added to the trust folder',
          },
        )
      const kms = await connect(wrap.kmsKey)
      return kms.decrypt(wrap.kmsKey, wrap.kmsCiphertext, kmsAad(wrap.suite, name))
    },
    close: async () => {
      const last = [...connections.values()]
      connections.clear()
      for (const result of await Promise.allSettled(last))
        if (result.status === 'fulfilled') await result.value.close() // one that never opened told so to whoever asked
    },
  }
}
