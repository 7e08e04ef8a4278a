/** What outside baselines ask, by their own identifiers, and what here shows it. Titles are ours, the texts theirs. */

import type { HostFact } from '../host_facts.ts'

export interface BaselineRow {
  /** As the baseline has it. */
  id: string
  title: string
  /** Controls whose verdict is this row's. */
  controls?: string[]
  /** Server options that must be as the release has them, beside those that name the row themselves (`from`). */
  settings?: string[]
  /** Questions that the probes of files, processes and databases answer. */
  facts?: HostFact[]
  /** Accounts other than MySQL's own that must not be, as rows of the observation `accounts`. */
  accounts?: 'anonymous' | 'without-secret' | 'any-host' | 'remote-root'
  /** Why this deployment does otherwise, or why the row has no object here, and what serves instead. */
  exception?: string
}

export interface Baseline {
  id: string
  title: string
  /** Where the text is to be had. */
  source: string
  /** How a setting of the release names a row in its `from`. */
  settingsAs?: (id: string) => string
  rows: BaselineRow[]
}
