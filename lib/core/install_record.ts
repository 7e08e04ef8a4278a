/**
 * What an installation was made from: kept by root on the host, so that `check` needs no archive. It holds no secret: the
 * digests of passwords are of random ones of 128 bits or more.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { z } from 'zod'
import { type Bytes, toHex } from './bytes.ts'
import { formatCanonical, parseCanonical } from './json.ts'
import { lp } from './lp.ts'
import { accountText, hex32, originText, roles, timeText, uuidText } from './trust_files.ts'

const fileSchema = z.strictObject({ path: z.string(), mode: z.int(), owner: z.string(), sha256: hex32 })

const recordSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-installation'),
  origin: originText,
  serverName: z.string(),
  hostPart: z.string(),
  anchorUser: z.string(),
  tlsDir: z.string(),
  anchorDir: z.string(),
  caSha256: z.array(hex32),
  serverNotAfter: timeText,
  crlNextUpdate: timeText,
  /** Digest of the TLS files that the running server last took up. */
  loadedTls: hex32,
  /** What only the archive could write again. */
  files: z.array(fileSchema),
  accounts: z.array(
    z.strictObject({
      account: accountText,
      role: z.enum(roles).exclude(['administrator']),
      tenant: uuidText.nullable(),
      subject: z.string(),
      issuer: z.string(),
      /** Digest of the password that was set. */
      password: hex32,
      /** SHA-256 of what MySQL stores for it: another value there means that somebody changed the password. */
      stored: hex32,
    }),
  ),
})

export type InstallRecord = z.infer<typeof recordSchema>
export type RecordedFile = z.infer<typeof fileSchema>

export const recordMaxBytes = 1 << 20

/** @throws BAD_FORMAT, NEWER_FORMAT */
export const parseInstallRecord = (source: Bytes, what: string): InstallRecord =>
  parseCanonical(source, recordSchema, what, { maxBytes: recordMaxBytes, newline: true })

export const formatInstallRecord = (record: InstallRecord): string => formatCanonical(record, true)

/** 32 bytes in hex: tells whether a password is the one that was set, and nothing else. */
export const passwordDigest = (account: string, password: string): string =>
  toHex(sha256(lp('ztmysql/v1/installed-password', account, password)))
