/** Debian packages without touching the system: a private apt configuration, as root or as anybody. */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ZtError } from '../core/errors.ts'
import { run } from './mysqld_process.ts'

/** Debian's own releases: a source of another name (`nodistro`, `noble`) is somebody else's. */
const debianReleases = /^(sid|unstable|testing|stable|oldstable|bullseye|bookworm|trixie|forky|duke)(\/.*)?$/

const keyrings = ['gpg', 'pgp'].map(suffix => `/usr/share/keyrings/debian-archive-keyring.${suffix}`)

/** Scripts of these packages alone need Perl, a third of the download's size unpacked. */
const unused = /^(lib)?perl[-_5]|^perl-/

const languageNeutral = { LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' }

const format = '$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)'

/** The mirrors among the lines that `apt-get indextargets --format` prints for `format`. */
export function parseTargets(stdout: string): string[] {
  const mirrors = stdout
    .split('\n')
    .map(line => line.split(' '))
    .filter(
      ([by, component, release = '']) =>
        by === 'Packages' && component === 'main' && debianReleases.test(release),
    )
    .map(fields => fields[3]?.replace(/\/+$/, '') ?? '') // apt adds a slash, also to the file of mirror+file:
    .filter(uri => uri !== '' && !uri.startsWith('cdrom:'))
  return [...new Set(mirrors)]
}

/**
 * The Debian mirrors that this machine's apt uses, whichever format its sources are written in.
 * `options`: further arguments for apt-get, e.g. other sources.
 * @throws MISSING_TOOL where apt is missing or knows no Debian mirror
 */
export async function debianMirrors(options: string[] = []): Promise<string[]> {
  for (const tool of ['apt-get', 'dpkg'])
    if (!Bun.which(tool)) throw new ZtError('MISSING_TOOL', `${tool} is missing, so none can be fetched`)
  const { code, stdout, stderr } = await run(
    ['apt-get', ...options, 'indextargets', '--no-release-info', '--format', format], // lists may be empty
    languageNeutral,
  )
  if (code !== 0) throw new ZtError('MISSING_TOOL', `apt-get indextargets: ${firstLine(stderr)}`)
  const mirrors = parseTargets(stdout)
  if (mirrors.length === 0)
    throw new ZtError('MISSING_TOOL', 'the apt sources of this machine name no Debian mirror')
  return mirrors
}

const firstLine = (text: string): string =>
  text
    .split('\n')
    .find(line => /^E: |^W: |^Err/.test(line))
    ?.trim() ??
  text.trim().split('\n').at(-1) ??
  ''

function configure(folder: string, mirror: string): string {
  for (const name of ['lists/partial', 'cache/archives/partial', 'state'])
    mkdirSync(join(folder, name), { recursive: true })
  const keyring = keyrings.find(path => existsSync(path))
  writeFileSync(join(folder, 'status'), '')
  writeFileSync(
    join(folder, 'sources.list'),
    `deb ${keyring ? `[signed-by=${keyring}] ` : ''}${mirror} sid main\n`,
  )
  const config = join(folder, 'apt.conf')
  writeFileSync(
    config,
    `#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::Etc::SourceList "${folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "${folder}/state";
Dir::State::Lists "${folder}/lists";
Dir::State::status "${folder}/status";
Dir::Cache "${folder}/cache";
Dir::Cache::archives "${folder}/cache/archives";
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Debug::NoLocking "true";
`,
  )
  return config
}

/**
 * Downloads `packages` of Debian sid and all they depend on into `folder`, from the first mirror that has them.
 * Returns the paths of the .deb files.
 * @throws UNREACHABLE with each mirror's reason
 */
export async function downloadPackages(
  mirrors: string[],
  packages: string[],
  folder: string,
  tell: (line: string) => void,
): Promise<string[]> {
  const failures: string[] = []
  for (const mirror of mirrors) {
    tell(`fetching ${packages.join(' and ')} of Debian sid from ${mirror} (about 65 MB, once)`)
    rmSync(folder, { recursive: true, force: true })
    const apt = ['apt-get', '-c', configure(folder, mirror), '-q', '-y']
    const steps = [['update'], ['install', '--download-only', ...packages]]
    let failure: string | undefined
    for (const step of steps) {
      const { code, stdout, stderr } = await run([...apt, ...step], languageNeutral)
      if (code === 0) continue
      failure = `${mirror}: ${firstLine(`${stderr}\n${stdout}`)}`
      break
    }
    if (failure === undefined) {
      const archives = join(folder, 'cache', 'archives')
      const names = readdirSync(archives).filter(name => name.endsWith('.deb') && !unused.test(name))
      return names.map(name => join(archives, name))
    }
    failures.push(failure)
  }
  throw new ZtError('UNREACHABLE', `cannot fetch it from Debian: ${failures.join('; ')}`)
}
