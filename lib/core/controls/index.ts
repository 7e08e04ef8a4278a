import { auditControls } from './audit.ts'
import type { Control } from './control.ts'
import { dataControls } from './data.ts'
import { googleControls } from './google.ts'
import { hostControls } from './host.ts'
import { identityControls } from './identity.ts'
import { networkControls } from './network.ts'
import { writeControls } from './writes.ts'

/** Every control: README's matrix, the proof suite, the reports and the tests are made from this list. */
export const controls: Control[] = [
  ...networkControls,
  ...identityControls,
  ...writeControls,
  ...dataControls,
  ...auditControls,
  ...hostControls,
  ...googleControls,
]
