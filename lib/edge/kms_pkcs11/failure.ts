/** What a module's return values mean (PKCS #11 v2.40 §5.1), in the words that decide whether a call is tried again. */
import { reason } from '../../core/errors.ts'
import { KmsFailure, type StatusName } from '../kms_call.ts'
import { CryptokiError } from './cryptoki.ts'

type Meaning = [name: string, status: StatusName, hint?: string]

const pinHint = 'check the PIN: each wrong one counts, and the token locks itself after a few'

const meanings: Record<number, Meaning> = {
  2: ['CKR_HOST_MEMORY', 'INTERNAL'],
  5: ['CKR_GENERAL_ERROR', 'INTERNAL', 'see the log of the module'],
  6: ['CKR_FUNCTION_FAILED', 'INTERNAL', 'see the log of the module'],
  48: ['CKR_DEVICE_ERROR', 'UNAVAILABLE'],
  49: ['CKR_DEVICE_MEMORY', 'RESOURCE_EXHAUSTED'],
  50: ['CKR_DEVICE_REMOVED', 'UNAVAILABLE'],
  96: ['CKR_KEY_HANDLE_INVALID', 'ABORTED'],
  130: ['CKR_OBJECT_HANDLE_INVALID', 'ABORTED'],
  99: ['CKR_KEY_TYPE_INCONSISTENT', 'FAILED_PRECONDITION'],
  104: [
    'CKR_KEY_FUNCTION_NOT_PERMITTED',
    'PERMISSION_DENIED',
    'the key does not allow it: see its CKA_ENCRYPT and CKA_DECRYPT',
  ],
  112: ['CKR_MECHANISM_INVALID', 'UNIMPLEMENTED', 'the token has no CKM_AES_GCM, which is needed'],
  113: [
    'CKR_MECHANISM_PARAM_INVALID',
    'UNIMPLEMENTED',
    'the token refuses a nonce or additional data given to it',
  ],
  160: ['CKR_PIN_INCORRECT', 'UNAUTHENTICATED', pinHint],
  161: ['CKR_PIN_INVALID', 'UNAUTHENTICATED', pinHint],
  162: ['CKR_PIN_LEN_RANGE', 'UNAUTHENTICATED', pinHint],
  163: ['CKR_PIN_EXPIRED', 'UNAUTHENTICATED', 'set a new PIN'],
  164: [
    'CKR_PIN_LOCKED',
    'UNAUTHENTICATED',
    'the token locked itself: its security officer can set a new PIN',
  ],
  176: ['CKR_SESSION_CLOSED', 'ABORTED'],
  177: ['CKR_SESSION_COUNT', 'RESOURCE_EXHAUSTED'],
  179: ['CKR_SESSION_HANDLE_INVALID', 'ABORTED'],
  224: ['CKR_TOKEN_NOT_PRESENT', 'UNAVAILABLE'],
  225: ['CKR_TOKEN_NOT_RECOGNIZED', 'UNAVAILABLE'],
  257: ['CKR_USER_NOT_LOGGED_IN', 'ABORTED'],
  258: ['CKR_USER_PIN_NOT_INITIALIZED', 'UNAUTHENTICATED', 'the token has no user PIN yet: initialise it'],
}

/**
 * A refusal of C_Decrypt alone: the tag did not match. Modules say it with different words, SoftHSM with
 * CKR_GENERAL_ERROR.
 */
const mismatches: Record<number, string> = {
  5: 'CKR_GENERAL_ERROR',
  6: 'CKR_FUNCTION_FAILED',
  32: 'CKR_DATA_INVALID',
  33: 'CKR_DATA_LEN_RANGE',
  64: 'CKR_ENCRYPTED_DATA_INVALID',
  65: 'CKR_ENCRYPTED_DATA_LEN_RANGE',
  66: 'CKR_AEAD_DECRYPT_FAILED',
  192: 'CKR_SIGNATURE_INVALID',
}

/** Whether the token says that nonce, additional data, key and ciphertext do not belong together. */
export const isMismatch = ({ call, rv }: CryptokiError): boolean => call === 'C_Decrypt' && rv in mismatches

export function failureOf(thrown: unknown): KmsFailure {
  if (thrown instanceof KmsFailure) return thrown
  if (!(thrown instanceof CryptokiError))
    return new KmsFailure(
      'FAILED_PRECONDITION',
      `the module cannot be used: ${reason(thrown)}`,
      'name the PKCS#11 library of the HSM, for this processor',
    )
  const { call, rv } = thrown
  if (isMismatch(thrown)) return new KmsFailure('INVALID_ARGUMENT', `${call} said ${mismatches[rv]}`)
  const [name, status, hint] = meanings[rv] ?? [
    `0x${rv.toString(16)}`,
    'INTERNAL',
    'see the log of the module',
  ]
  return new KmsFailure(status, `${call} said ${name}`, hint)
}
