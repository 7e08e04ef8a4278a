/** What a probe saw, before anybody judged it (SPEC §7.1). */
import { z } from 'zod'
import type { Bytes } from '../bytes.ts'
import { type Grade, grades, type Json } from '../controls/control.ts'
import { ZtError } from '../errors.ts'
import { formatCanonical, parseCanonical } from '../json.ts'
import { isTime } from '../time.ts'

const text = z.string().max(65_536)
const head = {
  v: z.literal(1),
  id: z.string().regex(/^[a-z0-9_]{1,40}$/),
  time: z.string().refine(isTime),
  host: text,
  /** Who asked: account and how it came. */
  identity: text,
  grade: z.enum(grades),
  /** What was done, for a person to do again. */
  command: text,
}
// parsed JSON is JSON: to walk through all of it again is work that its writer could ask for
const seen = z.strictObject({ ...head, result: z.custom<Json>(value => value !== undefined) })
const failed = z.strictObject({ ...head, error: text })
const schema = z.union([seen, failed])

export interface Observation {
  v: 1
  id: string
  time: string
  host: string
  identity: string
  grade: Grade
  command: string
  /** Raw: what the server or system answered. */
  result?: Json
  /** Why the probe could not run; in place of a result. */
  error?: string
}

export const observationMaxBytes = 1 << 20

export const observationName = (id: string): string => `observations/${id}.json`

export function formatObservation(o: Observation): string {
  const { v, id, time, host, identity, grade, command } = o
  const end = o.error === undefined ? { result: o.result ?? null } : { error: o.error }
  return formatCanonical({ v, id, time, host, identity, grade, command, ...end }, true)
}

/** @param name of the file it came in. @throws BAD_FORMAT, NEWER_FORMAT */
export function parseObservation(source: Bytes, name: string): Observation {
  const observation = parseCanonical(source, schema, name, { maxBytes: observationMaxBytes, newline: true })
  if (observationName(observation.id) !== name)
    throw new ZtError('BAD_FORMAT', `${name}: holds observation ${observation.id}`)
  return observation as Observation
}
