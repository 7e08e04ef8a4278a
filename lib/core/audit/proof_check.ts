import { type Bytes, toHex } from '../bytes.ts'
import { type Engine, noble } from '../engine.ts'
import { ZtError } from '../errors.ts'
import type { TableDefinition } from '../tables.ts'
import type { Trust } from '../trust.ts'
import { parseAnchor } from './anchor.ts'
import { type Checkpoint, openAnyCheckpoint } from './checkpoint.ts'
import { type Event, isRowEvent, parseEvent } from './event.ts'
import { leafHash, verifyInclusion } from './merkle.ts'
import { checkSender, checkSignature, checkSigner } from './signature_check.ts'
import type { StoredAnchor } from './source.ts'
import type { TlogProof } from './tlog_proof.ts'

export interface ProvedEvent {
  event: Event
  index: number
  checkpoint: Checkpoint
  /** Number of the anchor of the auditor's copy that carries this checkpoint; undefined where no copy was given. */
  anchor: number | undefined
  /** Account whose signature the event carries; null for one that the server made. */
  signedBy: string | null
}

export interface ProofOptions {
  trust: Pick<Trust, 'origin' | 'logKeys' | 'certificates' | 'witnesses'>
  definitions: Map<string, TableDefinition>
  /** A copy of the store, where there is one: the checkpoint must be one of it. */
  anchors?: readonly StoredAnchor[]
  engine?: Engine
}

/**
 * Judges a proof offline: the checkpoint by the log's keys (and its witnesses'), the path by the checkpoint's root, the
 * event's own signature by the certificates of the trust folder at the checkpoint's time.
 * @throws BAD_SIGNATURE, VERIFY_FAILED, BAD_FORMAT
 */
export function checkProof(
  proof: TlogProof,
  payload: Bytes,
  options: ProofOptions,
  what = 'proof',
): ProvedEvent {
  const { trust, definitions, anchors, engine = noble } = options
  const checkpoint = openAnyCheckpoint(proof.checkpoint, trust, what, engine)
  const leaf = leafHash(payload, engine.sha256)
  if (!verifyInclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root))
    throw new ZtError(
      'VERIFY_FAILED',
      `${what}: the payload (SHA-256 leaf ${toHex(leaf)}) is not event ${proof.index} of the tree of ${checkpoint.size} events`,
    )
  const event = parseEvent(payload, 'payload')
  return {
    event,
    index: proof.index,
    checkpoint,
    anchor: anchors && anchorOf(proof.checkpoint, anchors, what),
    signedBy: signerOf(event, checkpoint.timestamp * 1000, { trust, definitions, engine }),
  }
}

/** Whoever holds a retired key can sign any past: only the copy of the store knows which past there was. */
function anchorOf(checkpoint: string, anchors: readonly StoredAnchor[], what: string): number {
  for (const { bytes } of anchors)
    try {
      const anchor = parseAnchor(bytes)
      if (anchor.checkpoint === checkpoint) return anchor.number
    } catch (thrown) {
      if (!(thrown instanceof ZtError)) throw thrown // not an anchor: verify reports it as ANCHOR_FORMAT
    }
  throw new ZtError('VERIFY_FAILED', `${what}: no anchor of your copy of the store carries its checkpoint`, {
    hint: 'fetch the anchors again; if it stays, somebody signed another past',
  })
}

function signerOf(
  event: Event,
  at: number,
  {
    trust,
    definitions,
    engine,
  }: { trust: ProofOptions['trust']; definitions: ProofOptions['definitions']; engine: Engine },
): string | null {
  if (!isRowEvent(event)) return null
  const bySigner = new Map(trust.certificates.map(c => [c.signer, c]))
  const fault =
    checkSigner(event, definitions, bySigner) ??
    checkSender(event, trust.origin, definitions, bySigner, at, engine) ??
    checkSignature(event, trust.origin, bySigner, at, engine)
  if (fault) throw new ZtError('VERIFY_FAILED', `${fault.code}: ${fault.what}`)
  return bySigner.get(event.signer ?? '')?.account ?? null
}
