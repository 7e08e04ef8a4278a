/** Opens a PKI folder for one change at a time. */
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Bytes, equal, fromUtf8 } from '../../core/bytes.ts'
import { ZtError } from '../../core/errors.ts'
import { maxStateBytes, type PkiState, parsePkiState } from '../../core/pki_state.ts'
import { onExit } from '../cleanup.ts'
import { lockDir, makePrivateDir, readPrivateFile } from '../files.ts'
import { authorityKeyPath, authorityPath } from './authorities.ts'
import { certificateAt, type Draft, get } from './draft.ts'
import { decryptKey } from './keys.ts'
import { finish, finishUnsigned } from './outputs.ts'
import { commit, recover } from './transaction.ts'

/** What a change did, or, as a dry run, would do. */
export interface Outcome {
  /** A line each; none: nothing changed. */
  changes: string[]
  state: PkiState
}

export interface ChangeOptions {
  passphrase: string
  /** Says what it would do, and leaves the folder as it is. */
  dryRun?: boolean
  /** Milliseconds since 1970; tests alone set it. */
  now?: number
}

const stateFile = 'pki.json'

export const isPki = (dir: string): boolean => existsSync(join(dir, stateFile))

export function requirePki(dir: string): void {
  if (isPki(dir) || existsSync(join(dir, '.committed'))) return
  throw new ZtError('NOT_FOUND', `${dir}: no PKI folder (it has no ${stateFile})`, {
    hint: `name it with --dir, or make one: outside_pki init --dir ${dir}`,
  })
}

/** The state of a PKI folder. Needs neither passphrase nor lock. @throws NOT_FOUND, PERMISSION, BAD_FORMAT */
export function readPki(dir: string): PkiState {
  requirePki(dir)
  makePrivateDir(dir)
  return parsePkiState(
    readPrivateFile(join(dir, stateFile), 'PKI state', maxStateBytes),
    join(dir, stateFile),
  )
}

function newDraft(dir: string, state: PkiState, { passphrase, now = Date.now() }: ChangeOptions): Draft {
  return {
    dir,
    passphrase,
    now: now * 1000,
    state,
    authorities: [],
    files: new Map(),
    removed: new Set(),
    changes: [],
    signers: new Map(),
    crlIsStale: false,
  }
}

async function unlock(draft: Draft): Promise<void> {
  for (const { serial } of draft.state.authorities) {
    const path = authorityKeyPath(serial)
    const pem = fromUtf8(get(draft, path), path)
    const key = await decryptKey(pem, draft.passphrase, 'P-384', join(draft.dir, path))
    draft.authorities.push({ ...key, certificate: certificateAt(draft, authorityPath(serial)) })
  }
}

/** Files whose content is there already need no writing. */
function isThere(dir: string, path: string, bytes: Bytes): boolean {
  const file = join(dir, path)
  return existsSync(file) && equal(new Uint8Array(readFileSync(file)), bytes)
}

const changed = (draft: Draft): Map<string, Bytes> =>
  new Map([...draft.files].filter(([path, bytes]) => !isThere(draft.dir, path, bytes)))

async function complete(draft: Draft, dryRun: boolean | undefined): Promise<Outcome> {
  if (draft.changes.length > 0) {
    await finish(draft)
    if (dryRun !== true) commit(draft.dir, changed(draft), [...draft.removed])
  }
  return { changes: draft.changes, state: draft.state }
}

/** Holds the folder's lock around `act`, on the state that is there. */
async function opened<T>(
  folder: string,
  options: ChangeOptions,
  act: (draft: Draft) => Promise<T>,
): Promise<T> {
  const dir = resolve(folder)
  requirePki(dir)
  makePrivateDir(dir)
  const release = lockDir(dir)
  try {
    recover(dir)
    return await act(newDraft(dir, readPki(dir), options))
  } finally {
    release()
  }
}

/**
 * Changes a PKI folder as one: `act` says what, on a draft; all of it is written, or none.
 * @throws NOT_FOUND, PERMISSION, BAD_FORMAT, LOCKED, BAD_PASSPHRASE, and what `act` throws
 */
export function changePki(
  folder: string,
  options: ChangeOptions,
  act: (draft: Draft) => void | Promise<void>,
): Promise<Outcome> {
  return opened(folder, options, async draft => {
    await unlock(draft)
    await act(draft)
    return await complete(draft, options.dryRun)
  })
}

/** Writes archives and option files again, where they are not as they should be. Needs no passphrase. */
export function rewritePki(
  folder: string,
  options: Omit<ChangeOptions, 'passphrase'>,
  act: (draft: Draft) => void | Promise<void> = () => undefined,
): Promise<Outcome> {
  return opened(folder, { ...options, passphrase: '' }, async draft => {
    await act(draft)
    await finishUnsigned(draft)
    const files = changed(draft)
    if (options.dryRun !== true && files.size > 0) commit(draft.dir, files)
    return { changes: [...files.keys()].map(path => `wrote ${path}`), state: draft.state }
  })
}

/** Makes a PKI in a folder that is new or empty; `state` has no CA yet, `act` begins with one. @throws CONFLICT */
export async function beginPki(
  folder: string,
  options: ChangeOptions,
  state: PkiState,
  act: (draft: Draft) => Promise<void>,
): Promise<Outcome> {
  const dir = resolve(folder)
  const isNew = !existsSync(dir)
  makePrivateDir(dir)
  const dropEmpty = () => {
    if (isNew && readdirSync(dir).length === 0) rmdirSync(dir) // a failed, dry or interrupted run leaves nothing
  }
  const forget = onExit(dropEmpty)
  let release: () => void = () => undefined
  try {
    release = lockDir(dir)
    recover(dir)
    const others = readdirSync(dir).filter(name => name !== '.lock')
    if (others.length > 0)
      throw new ZtError('CONFLICT', `${dir}: ${isPki(dir) ? 'holds a PKI already' : 'is not empty'}`, {
        hint: 'name a new folder with --dir',
      })
    const draft = newDraft(dir, state, options)
    await act(draft)
    return await complete(draft, options.dryRun)
  } finally {
    release()
    forget()
    dropEmpty()
  }
}
