/** Reads a bundle and the auditor's folders, and hands them to the pure judge. */
import { goldenFingerprints, tableDefinitions } from '../../sql/index.ts'
import { parseRequirement } from '../core/proof/profile.ts'
import { type BundleVerdict, verifyBundle } from '../core/proof/verify_bundle.ts'
import { asVerdict, readBundleFile } from './bundle_file.ts'
import { attestBy } from './gcp/attestation.ts'
import { readGoogleEvidence } from './gcp/evidence_file.ts'
import { signerOfBundle } from './sign_bundle.ts'
import { readTrust } from './trust.ts'
import { readAnchors } from './verify.ts'

export interface JudgeBundleOptions {
  trust: string
  anchors: string
  caSha256?: string
  nonce?: string
  require: string
  signatures: 'last' | 'all'
  gapSeconds: number
  /** The auditor's own evidence from Google: a file, or its folder. */
  google?: string
  /** Public key or certificate of the countersigner. */
  signedBy?: string
  /** The countersignature, by default beside the bundle. */
  signature?: string
}

export interface JudgedBundle extends BundleVerdict {
  /** Who countersigned it, where that was asked for. */
  signer: string | undefined
}

/** @throws VERIFY_FAILED for anything that is wrong with the bundle itself: a broken proof is no proof */
export async function judgeBundle(path: string, options: JudgeBundleOptions): Promise<JudgedBundle> {
  const requirement = parseRequirement(options.require)
  const trust = await readTrust(
    options.trust,
    options.caSha256 === undefined ? {} : { caSha256: options.caSha256 },
  )
  const anchors = await readAnchors(options.anchors)
  const google = options.google === undefined ? undefined : readGoogleEvidence(options.google)
  const attest = trust.hsmRoots === undefined ? undefined : attestBy(trust.hsmRoots)
  const files = await readBundleFile(path)
  const { signedBy, signature } = options
  const signer = signedBy === undefined ? undefined : await signerOfBundle(path, files, signedBy, signature)
  const verdict = await asVerdict(() =>
    verifyBundle(files, {
      trust,
      anchors,
      definitions: tableDefinitions,
      golden: goldenFingerprints,
      requirement,
      now: Date.now(),
      signatures: options.signatures,
      gapSeconds: options.gapSeconds,
      ...(google === undefined ? {} : { google }),
      ...(attest === undefined ? {} : { attest }),
      ...(options.nonce === undefined ? {} : { nonce: options.nonce }),
    }),
  )
  return { ...verdict, signer }
}
