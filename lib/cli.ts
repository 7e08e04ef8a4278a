/** One way to parse arguments, print, report errors and choose exit codes (SPEC of the commands: README). */
import { Command, CommanderError, Option } from 'commander'
import { reason, usualHints, ZtError } from './core/errors.ts'
import { runCleanups } from './edge/cleanup.ts'
import { errno, fileError } from './edge/file_error.ts'
import { writeAll } from './edge/output.ts'
import { commit, version } from './version.ts'

export { onExit } from './edge/cleanup.ts'
export { Command, Option }

/** A result: goes to stdout. */
export function print(line = ''): void {
  writeAll(1, `${line}\n`)
}

/** Talk: goes to stderr. */
export function say(line = ''): void {
  writeAll(2, `${line}\n`)
}

/** The value of an option that counts something. @throws USAGE */
export function wholeNumber(option: string, text: string, least = 1): number {
  const n = Number(text)
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(n) || n < least)
    throw new ZtError('USAGE', `${option}: expected a whole number, at least ${least}, got ${text}`, {
      hint: `for example ${option} ${Math.max(least, 10)}`,
    })
  return n
}

/** True where colours and moving bars are welcome on stderr. */
export const interactive = (): boolean => process.stderr.isTTY === true

const colourful = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'

const paint =
  (code: number) =>
  (text: string, stream: NodeJS.WriteStream = process.stdout): string =>
    colourful(stream) ? `\x1b[${code}m${text}\x1b[0m` : text

export const red = paint(31)
export const green = paint(32)
export const yellow = paint(33)
export const bold = paint(1)
export const dim = paint(2)

/** `--trust <dir>`, TRUST_DIR: `--trust DIR or TRUST_DIR: what the help says of it`. */
const optionText = ({ flags, envVar, description }: Option): string =>
  `${flags.replace(/<(.*)>/, (_, name: string) => name.toUpperCase())}${envVar === undefined ? '' : ` or ${envVar}`}: ${description}`

/** A command that says of a missing option what it is and how else it can be given. */
class EntryCommand extends Command {
  override createCommand(name?: string): Command {
    return new EntryCommand(name)
  }

  /** Called by commander, whose types leave it out. */
  missingMandatoryOptionValue(option: Option): never {
    throw new ZtError('USAGE', `missing ${optionText(option)}`, { hint: `${rootName(this)} --help` })
  }
}

const rootName = (cmd: Command): string => (cmd.parent ? `${rootName(cmd.parent)} ${cmd.name()}` : cmd.name())

/** A root command with the conventions every entry shares. */
export function command(name: string, summary: string, examples: string[] = []): Command {
  const cmd = new EntryCommand(name)
    .description(summary)
    .version(`${name} ${version} (${commit})`, '--version', 'print version and commit')
    .helpOption('-h, --help', 'print help')
    .option('--debug', 'print stack traces')
    .showSuggestionAfterError(true)
    .configureOutput({
      writeOut: text => writeAll(1, text),
      outputError: () => undefined, // runMain prints it in the one format
    })
    .exitOverride()
  if (examples.length > 0)
    cmd.addHelpText('after', `\nExamples:\n${examples.map(line => `  $ ${line}`).join('\n')}\n`)
  return cmd
}

function report(name: string, thrown: unknown, debug: boolean): number {
  if (thrown instanceof CommanderError) {
    if (thrown.exitCode === 0) return 0
    say(`${name}: error: ${thrown.message.replace(/^error: /, '').replace(/\n+/g, ' ')}`)
    say(`hint: ${name} --help`)
    return 2
  }
  const error = thrown instanceof ZtError ? thrown : unexpected(thrown)
  say(`${name}: error: ${oneLine(error.message)}`)
  const hint = error.hint ?? usualHints[error.code]
  if (hint !== undefined) say(`hint: ${oneLine(hint)}`)
  if (debug) for (let e: unknown = error; e instanceof Error; e = e.cause) say(e.stack)
  return error.exitCode
}

/** A path, a server or a certificate may hold line ends and what steers a terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out
const oneLine = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ').trim()

function unexpected(thrown: unknown): ZtError {
  const path = (thrown as { path?: unknown } | null)?.path
  if (/^E[A-Z0-9]+$/.test(errno(thrown) ?? ''))
    return fileError(thrown, typeof path === 'string' ? path : 'the system')
  return new ZtError('INTERNAL', reason(thrown), {
    hint: 'run it again with --debug and report what it prints',
    cause: thrown,
  })
}

let stopMoving: (() => void) | undefined

/** `stop` takes what moves on the terminal away, the hidden cursor with it, before the last word is said. */
export function onLastWord(stop: (() => void) | undefined): void {
  stopMoving = stop
}

/** Reports, cleans up, exits; the first reason to end is the one that counts. */
let ending: Promise<never> | undefined

function end(finish: () => number): Promise<never> {
  ending ??= (async () => {
    stopMoving?.()
    const code = finish()
    const thrown = await runCleanups()
    for (const error of thrown) report('clean-up', error, false)
    process.exit(code === 0 && thrown.length > 0 ? 3 : code)
  })()
  return ending
}

/** Runs a command line to its end: parses, acts, cleans up, exits with the documented code. */
export async function runMain(cmd: Command, argv: string[] = process.argv): Promise<never> {
  const debug = argv.includes('--debug')
  const fail = (thrown: unknown) => end(() => report(cmd.name(), thrown, debug))
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)
    process.once(signal, () => {
      void end(() => {
        say(`${cmd.name()}: interrupted`)
        return code
      })
    })
  process.on('uncaughtException', fail)
  process.on('unhandledRejection', fail)
  try {
    await cmd.parseAsync(argv)
  } catch (thrown) {
    return fail(thrown)
  }
  return end(() => (typeof process.exitCode === 'number' ? process.exitCode : 0))
}
