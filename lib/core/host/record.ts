/** What the host layer was set up with: `/etc/ztmysql/host.json`, so that a later run needs no flags. No secret. */
import { z } from 'zod'
import type { Bytes } from '../bytes.ts'
import { formatCanonical, parseCanonical } from '../json.ts'

const recordSchema = z.strictObject({
  v: z.literal(1),
  kind: z.literal('ztmysql-host'),
  /** Version of the program that wrote it. */
  version: z.string(),
  /** Folder of the option files that mysqld reads last. */
  confDir: z.string(),
  /** Whether port 3306 is open to `allowedCidr`. */
  allowRemote: z.boolean(),
  allowedCidr: z.array(z.string()),
  /** Where packages come from. */
  mysqlSource: z.string(),
  /** Where anchors go, as anchor_head takes it. */
  worm: z.string(),
  /** Where AUDIT_CHAIN_HEAD lines go besides the local log; null: nowhere else. */
  logHost: z.string().nullable(),
})

export type HostRecord = z.infer<typeof recordSchema>

export const hostRecordPath = '/etc/ztmysql/host.json'

/** @throws BAD_FORMAT, NEWER_FORMAT */
export const parseHostRecord = (source: Bytes, what: string): HostRecord =>
  parseCanonical(source, recordSchema, what, { maxBytes: 1 << 16, newline: true })

export const formatHostRecord = (record: HostRecord): string => formatCanonical(record, true)
