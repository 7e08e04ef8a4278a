/** What would stop an installation half-way, found before anything is changed: one plain error each. */
import { existsSync } from 'node:fs'
import { ZtError } from '../../core/errors.ts'
import { refuseUnfitLogHost } from './log_shipping.ts'
import { refuseUnfitPackages } from './packages.ts'
import type { Setup } from './setup.ts'

/** Before anything is read. @throws PERMISSION, REFUSED */
export function refuseUnfitProcess(): void {
  if (process.geteuid?.() !== 0)
    throw new ZtError('PERMISSION', 'only root can set up a host', { hint: 'run it with sudo' })
  if (!existsSync('/run/systemd/system'))
    throw new ZtError('REFUSED', 'this system does not run systemd', {
      hint: 'units and timers need it; for a database alone see --layer database',
    })
}

export async function preflight(setup: Setup): Promise<void> {
  refuseUnfitLogHost(setup)
  await refuseUnfitPackages(setup)
}
