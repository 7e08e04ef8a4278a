/** Reads two bundles and compares them; judges both where the auditor's folders are given. */
import { tableDefinitions } from '../../sql/index.ts'
import { readBundle } from '../core/proof/bundle.ts'
import { type BundleDiff, diffBundles } from '../core/proof/diff_bundle.ts'
import { asVerdict, readBundleFile } from './bundle_file.ts'
import { type JudgeBundleOptions, judgeBundle } from './judge_bundle.ts'

/** @throws VERIFY_FAILED where one of them is no bundle */
export async function diffBundleFiles(
  olderPath: string,
  newerPath: string,
  judging?: JudgeBundleOptions,
): Promise<BundleDiff> {
  const read = async (path: string) => {
    const files = await readBundleFile(path)
    return asVerdict(() => readBundle(files, tableDefinitions))
  }
  const [older, newer] = [await read(olderPath), await read(newerPath)]
  const judged =
    judging === undefined
      ? undefined
      : { older: await judgeBundle(olderPath, judging), newer: await judgeBundle(newerPath, judging) }
  return asVerdict(() => diffBundles(older, newer, judged))
}
