/** What outside baselines ask, by their own identifiers, and what here shows it. Titles are ours, the texts theirs. */

export interface BaselineRow {
  /** As the baseline has it. */
  id: string
  title: string
  /** Controls whose verdict is this row's. */
  controls?: string[]
  /** Server options that must be as the release has them, beside those that name the row themselves (`from`). */
  settings?: string[]
  /** Accounts other than MySQL's own that must not be, as rows of the observation `accounts`. */
  accounts?: 'anonymous' | 'without-secret' | 'any-host' | 'remote-root'
  /** Why this deployment does otherwise, or why the row has no object here, and what serves instead. */
  exception?: string
  /** Why nothing in this release shows it. */
  unseen?: string
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

/** An answer that several rows share: files and the operating system are set up by the host layer. */
export const filesUnseen =
  'set by vm_oneclick where it sets up the whole host; no probe of this release shows the mode of each file'
