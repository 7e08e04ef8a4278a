import type { Baseline } from './baseline.ts'
import { cis } from './cis.ts'
import { devSec } from './dev_sec.ts'
import { stig } from './stig.ts'

export const baselines: Baseline[] = [devSec, cis, stig]
