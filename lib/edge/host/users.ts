/** System users that own what the layers put on the host. */
import { findUser, installDefaults } from '../install/target.ts'
import type { Setup } from './setup.ts'
import type { Layer } from './steps.ts'
import { must } from './system.ts'

export async function usersLayer({ journal }: Setup): Promise<Layer> {
  const name = installDefaults.anchorUser
  const found = await findUser(name)
  const step = {
    id: 'users',
    description: 'make the system user of the anchor service, who cannot log in',
    changes: found === null ? [{ item: `user ${name}`, before: null, after: 'system user, no log-in' }] : [],
    apply: async () => {
      journal.keep({ kind: 'user', name, before: null })
      await must(
        'useradd',
        '--system',
        '--user-group',
        '--no-create-home',
        '--home-dir',
        '/nonexistent',
        '--shell',
        '/usr/sbin/nologin',
        name,
      )
    },
  }
  return { steps: [step], findings: [] }
}
