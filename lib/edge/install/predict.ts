/** What an installation will do on a server that is still to be installed: every item of it, as new. */
import { ZtError } from '../../core/errors.ts'
import type { Change, Plan, Step } from '../../core/plan.ts'
import { type Setting, settingDrift } from '../../core/settings.ts'
import { hostComponents } from '../../core/settings_host.ts'
import type { Connection } from '../mysql.ts'
import { fileChange, type OwnedFile } from '../owned_files.ts'
import { predictSchema } from '../schema_plan.ts'
import { anchorFiles, configFiles, hostFileChanges, recordPath, tlsFiles } from '../server_files.ts'
import type { Material } from '../server_material.ts'
import { accountsStep, anchorAccountStep, desiredAccounts } from './accounts.ts'
import { ordersStep } from './orders.ts'
import { initFileText, privilegesOfRoles } from './schema.ts'
import { findUserOrLater, type InstallOptions, installDefaults, type Target } from './target.ts'

const absent = new Proxy({} as Connection, {
  get: () => () => {
    throw new ZtError('INTERNAL', 'there is no server yet to ask')
  },
})

async function predictedTarget(options: InstallOptions, material: Material): Promise<Target> {
  const anchorUser = options.anchorUser ?? installDefaults.anchorUser
  return {
    connection: absent,
    host: options.host ?? false,
    socket: options.socket,
    serverVersion: '',
    places: {
      confDir: options.confDir,
      tlsDir: options.tlsDir ?? installDefaults.tlsDir,
      anchorDir: options.anchorDir ?? installDefaults.anchorDir,
    },
    owners: {
      root: { uid: 0, gid: 0 },
      mysqld: await findUserOrLater('mysql'),
      anchor: await findUserOrLater(anchorUser),
    },
    hostPart: options.hostPart ?? installDefaults.hostPart,
    anchorUser,
    origin: material.archive.origin,
    material,
    record: null,
    installedOrigin: null,
    databases: [],
  }
}

/** @param settingsFor the settings of the server at these places */
export async function predictTarget(
  options: InstallOptions,
  material: Material,
  settingsFor: (target: Target) => Setting[],
  optionFile: (settings: Setting[]) => string,
): Promise<Plan> {
  const target = await predictedTarget(options, material)
  const { archive } = material
  const settings = settingsFor(target)
  const drift = (kind: Setting['kind']): Change[] =>
    settingDrift(
      settings.filter(setting => setting.kind === kind),
      new Map(),
    ).map(({ variable, after }) => ({ item: variable, before: null, after }))
  const files = (list: OwnedFile[]) => list.flatMap(fileChange)
  const wanted = desiredAccounts(target)
  const step = (id: string, description: string, changes: Change[]): Step => ({
    id,
    description,
    changes,
    apply: async () => {
      throw new ZtError('INTERNAL', `${id}: was planned before the server was there`)
    },
  })
  const again = ({ id, description, changes }: Step) => step(id, description, changes)
  const grants = privilegesOfRoles(wanted).flatMap(({ user, host, privileges }) =>
    privileges.map(after => ({ item: `grant to '${user}'@'${host}'`, before: null, after })),
  )
  const config = configFiles(target.places, target.owners, {
    config: optionFile(settings),
    init: initFileText,
  })
  return {
    steps: [
      step('tls', 'put certificates in place and load them', [
        ...hostFileChanges(tlsFiles(target.places, target.owners, archive)),
        ...drift('tls'),
      ]),
      step(
        'anchor-key',
        'hand the signing keys to the anchor service',
        hostFileChanges(anchorFiles(target.places, target.owners, archive)),
      ),
      step('options', 'write the option file that mysqld reads at its start', files(config)),
      step(
        'components',
        'load the components of password policy and connection control',
        hostComponents.map(name => ({ item: `component ${name}`, before: null, after: 'installed' })),
      ),
      step('settings', 'set what takes effect at once', drift('dynamic')),
      step(
        'schema',
        'make tables, routines, views, triggers and events those of this release',
        predictSchema({ origin: target.origin }).changes,
      ),
      again(accountsStep(target, wanted, [])),
      again(anchorAccountStep(target, [])),
      step('grants', 'grant each account what its role may do, and nothing else', grants),
      again(await ordersStep(target, archive.orders)),
      step('record', 'keep what check needs once the archive is gone (no secret)', [
        { item: recordPath(target.places), before: null, after: 'of this run' },
      ]),
    ],
    findings: [],
    restart: drift('static'),
  }
}
