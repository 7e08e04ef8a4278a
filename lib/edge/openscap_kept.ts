/** The last scan that `openscap_scan` kept on this host, for a bundle. */
import { join } from 'node:path'
import { type Bytes, fromUtf8, utf8 } from '../core/bytes.ts'
import { ZtError } from '../core/errors.ts'
import {
  parseScanSummary,
  type ScanSummary,
  scanArfName,
  scanMaxBytes,
  scanResultsMaxBytes,
  summaryName,
} from '../core/openscap.ts'
import { testResultIn } from '../core/openscap_results.ts'
import { readPrivateFile, readRegularFile } from './files.ts'
import { sha256Hex } from './owned_files.ts'

/** An ARF holds the content that the host was scanned by: tens of megabytes. */
const arfMaxBytes = 256 << 20

/** The summary, and what the scan found as oscap wrote it. @throws BAD_FORMAT where they are not of one scan */
export function readScan(folder: string): { summary: ScanSummary; testResult: Bytes } {
  const path = join(folder, summaryName)
  const summary = parseScanSummary(readPrivateFile(path, 'summary of a scan', scanMaxBytes), path)
  const results = join(folder, scanArfName)
  const arf = readRegularFile(results, 'results of a scan', arfMaxBytes)
  if (
    !summary.files.some(({ path, sha256 }) => path.endsWith(`/${scanArfName}`) && sha256 === sha256Hex(arf))
  )
    throw new ZtError('BAD_FORMAT', `${results}: is not what ${path} was made from`, {
      hint: 'run openscap_scan again',
    })
  const testResult = utf8(testResultIn(fromUtf8(arf, results)))
  if (testResult.length > scanResultsMaxBytes)
    throw new ZtError('BAD_FORMAT', `${results}: its TestResult is larger than a bundle takes`)
  return { summary, testResult }
}
