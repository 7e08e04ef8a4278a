/** How the commands of vm_oneclick show a plan, ask about it, and tell what was done. */
import { dim, green, interactive, print, red, say, yellow } from './cli.ts'
import { ZtError } from './core/errors.ts'
import {
  driftLines,
  formatPlan,
  isClean,
  type Plan,
  type Progress,
  pendingSteps,
  planJson,
  summarisePlan,
} from './core/plan.ts'
import { askYes } from './edge/prompt.ts'

interface Flags {
  yes?: boolean
  json?: boolean
  verbose?: boolean
}

export function printPlan(plan: Plan, verbose = true): void {
  for (const line of verbose ? formatPlan(plan) : summarisePlan(plan))
    print(line.startsWith('  !') ? yellow(line) : line)
}

export function tellPlan(plan: Plan, { verbose }: Flags): void {
  printPlan(plan, verbose === true)
  if (pendingSteps(plan).length === 0) print('nothing to do')
  else if (verbose !== true) say('--verbose lists each change')
}

/** Sets exit code 1, naming each item, where anything is not as it was installed. */
export function tellCheck(plan: Plan, origin: string, { json }: Flags): void {
  const clean = isClean(plan)
  if (json) print(JSON.stringify({ origin, clean, ...planJson(plan) }))
  else {
    printPlan(plan)
    if (clean) print(green('no drift'))
    for (const [label, text] of driftLines(plan)) print(red(`${label}: ${text}`))
  }
  process.exitCode = clean ? 0 : 1
}

const confirmation =
  (verbose: boolean) =>
  async (plan: Plan): Promise<boolean> => {
    printPlan(plan, verbose)
    if (!interactive() || !process.stdin.isTTY)
      throw new ZtError('USAGE', 'there is no terminal to ask on', { hint: 'give --yes to apply the plan' })
    return await askYes(`apply this?${verbose ? '' : ' (--verbose lists each change)'} [y/N] `)
  }

const progress: Progress = {
  // some take half a minute: whoever waits sees for what
  began: step => {
    if (interactive()) say(dim(`     ${step.id}: ${step.description}`, process.stderr))
  },
  ended: (step, milliseconds) =>
    say(
      `${green('done', process.stderr)} ${step.id}: ${step.description} ${dim(`(${milliseconds} ms)`, process.stderr)}`,
    ),
}

export const asking = (flags: Flags) => ({
  progress,
  ...(flags.yes ? {} : { confirm: confirmation(flags.verbose === true) }),
})
