/** The file that `outside_gcp_setup verify --out` leaves (SPEC §7.5). */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { googleProbe, parseSeen } from '../../core/gcp/evidence.ts'
import {
  type Observation,
  observationMaxBytes,
  observationName,
  parseObservation,
} from '../../core/proof/observation.ts'
import { fileError, readRegularFile } from '../files.ts'

export const evidenceName = `${googleProbe}.json`

/**
 * @param path the file, or the folder that it is in
 * @throws BAD_FORMAT where it is no evidence from Google: told before anything is judged or collected
 */
export function readGoogleEvidence(path: string): Observation {
  let file = path
  try {
    if (statSync(path).isDirectory()) file = join(path, evidenceName)
  } catch (thrown) {
    throw fileError(thrown, path, 'evidence from Google')
  }
  const bytes = readRegularFile(file, 'evidence from Google', observationMaxBytes)
  const observation = parseObservation(bytes, observationName(googleProbe))
  if (observation.error === undefined) parseSeen(observation.result)
  return observation
}
