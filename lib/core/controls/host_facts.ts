/** What baselines ask of files, processes and databases of the host, each a question of its own; the judge answers it. */

export const fileFacts = [
  'data-folder',
  'system-tablespace',
  'binary-logs',
  'error-log',
  'slow-log',
  'general-log',
  'relay-logs',
  'key-files',
  'plug-ins',
  'option-file',
  'option-folders',
  'passwords-in-options',
  'strange-functions',
] as const
export const processFacts = [
  'one-server',
  'own-account',
  'no-log-in',
  'no-history',
  'password-in-processes',
  'password-in-profiles',
] as const
export const databaseFacts = ['sample-databases'] as const

/** The questions that each probe answers. */
export const factProbes = { files: fileFacts, process: processFacts, databases: databaseFacts } as const
export type FactProbe = keyof typeof factProbes
export type HostFact = (typeof factProbes)[FactProbe][number]
