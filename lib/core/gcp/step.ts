import type { Change, Finding } from '../plan.ts'

export interface GcpStep {
  id: string
  description: string
  changes: Change[]
  /** Arguments of gcloud, a command each. */
  commands: string[][]
  /** gcloud asks about these, and takes a no where nobody answers: this program asked before. */
  asks?: true
}

export interface GcpPlan {
  steps: GcpStep[]
  findings: Finding[]
}

export const seconds = (days: number): number => days * 86_400
export const daysOf = (duration: string | undefined): number =>
  Number((duration ?? '0s').replace(/s$/, '')) / 86_400
export const serviceAccount = (email: string): string => `serviceAccount:${email}`

export const add = (item: string, after: string): Change => ({ item, before: null, after })
