/** The real `gcloud`, driven through zx: one door, which turns its complaints into errors that say what to do. */
import { type ErrorCode, ZtError } from '../../core/errors.ts'
import { childEnv, isInstalled, shellOf } from '../shell.ts'

/** The oldest Google Cloud CLI whose answers are understood; tested with 528. */
const oldest = 450

interface Complaint {
  pattern: RegExp
  code: ErrorCode
  hint: string
}

// In this order: the first that fits is told.
const complaints: Complaint[] = [
  {
    pattern:
      /do not currently have an active account|no credentialed accounts|Reauthentication|invalid_grant|invalid authentication credentials/i,
    code: 'DENIED',
    hint: 'log in: gcloud auth login',
  },
  {
    pattern: /billing/i,
    code: 'REFUSED',
    hint: 'link the project to a billing account: gcloud billing projects link PROJECT --billing-account ID',
  },
  {
    pattern: /constraints\/|organization policy|FAILED_PRECONDITION/i,
    code: 'REFUSED',
    hint: 'a policy of the organisation forbids it: ask who keeps it, or choose another region or project',
  },
  {
    pattern: /bucket name is not available/i,
    code: 'CONFLICT',
    hint: 'bucket names are shared by the whole world and this one is taken: choose another --bucket',
  },
  {
    pattern: /locked Retention Policy/i,
    code: 'REFUSED',
    hint: 'a locked retention can only grow: give at least the days that it has',
  },
  {
    pattern: /protection level .*not supported|HSM is not/i,
    code: 'BAD_INPUT',
    hint: 'choose a --region that has Cloud HSM, for example europe-west3',
  },
  {
    pattern: /SERVICE_DISABLED|has not been used in project|it is disabled/i,
    code: 'REFUSED',
    hint: 'a service is switched off: this program switches on what it needs once it may; run it again in a minute',
  },
  {
    pattern: /RESOURCE_EXHAUSTED|Quota exceeded|\b429\b/i,
    code: 'UNREACHABLE',
    hint: 'a quota is used up: wait a minute and run it again',
  },
  {
    pattern: /PERMISSION_DENIED|does not have permission|\b403\b|Permission .* denied/i,
    code: 'DENIED',
    hint: 'check the project and the account (gcloud config list), and ask for the right that is named',
  },
  {
    pattern: /NOT_FOUND|not found|\b404\b/i,
    code: 'NOT_FOUND',
    hint: 'check the name of the project and of what is missing',
  },
  {
    pattern: /Max retries|Connection|timed? ?out|resolve/i,
    code: 'UNREACHABLE',
    hint: 'check the network and run it again',
  },
]

/** What failed, in gcloud's own words without its advice and its progress. */
function lastWords(stderr: string): string {
  const lines = stderr.split('\n').map(line => line.trim())
  const from = lines.findIndex(line => line.startsWith('ERROR:'))
  return lines
    .slice(Math.max(from, 0))
    .filter(line => line !== '' && !/^(?:To search|gcloud |For detailed)/.test(line))
    .join(' ')
    .replace(/^ERROR: /, '')
    .replace(/This command is authenticated with .*$/, '')
    .slice(0, 600)
    .trim()
}

export function gcloudError(args: string[], stderr: string): ZtError {
  const words = lastWords(stderr) || 'no reason given'
  const known = complaints.find(({ pattern }) => pattern.test(stderr))
  return new ZtError(known?.code ?? 'IO', `gcloud ${args.slice(0, 4).join(' ')}: ${words}`, {
    hint: known?.hint ?? 'run the command by hand to see it all (--dry-run prints it)',
  })
}

export interface Gcloud {
  /** Runs a command; returns its stdout. @throws by gcloudError */
  run(args: string[]): Promise<string>
  /** Runs a command that asks, and says yes. @throws by gcloudError */
  confirm(args: string[]): Promise<string>
}

/** @throws MISSING_TOOL where there is none, or one too old */
export async function openGcloud(): Promise<Gcloud> {
  // a question would wait for an answer that nobody can give
  const $ = shellOf({ ...childEnv(), CLOUDSDK_CORE_DISABLE_PROMPTS: '1' })
  if (!isInstalled('gcloud'))
    throw new ZtError('MISSING_TOOL', 'gcloud: not installed', {
      hint: 'install the Google Cloud CLI: https://cloud.google.com/sdk/docs/install',
    })
  const version = await $`gcloud version --format=${'value("Google Cloud SDK")'}`.nothrow() // a version that does not print is 0
  const major = Number(/^(\d+)\./.exec(version.stdout.trim())?.[1] ?? 0)
  if (major < oldest)
    throw new ZtError(
      'MISSING_TOOL',
      `gcloud is version ${version.stdout.trim() || 'unknown'}, this program needs ${oldest} or later`,
      {
        hint: 'update it: gcloud components update',
      },
    )
  const answering = shellOf(childEnv())
  const ended = (args: string[], { exitCode, stdout, stderr }: Ended): string => {
    if (exitCode !== 0) throw gcloudError(args, stderr)
    return stdout
  }
  return {
    run: async args => ended(args, await $`gcloud ${args}`.nothrow()), // the reason is in its words
    confirm: async args => ended(args, await answering({ input: 'y\n' })`gcloud ${args}`.nothrow()), // as above
  }
}

interface Ended {
  exitCode: number | null
  stdout: string
  stderr: string
}
