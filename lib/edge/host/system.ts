/** Tools of the host: run quietly, and when one fails, the part of its words that matters. */
import { ZtError } from '../../core/errors.ts'
import type { Ended } from '../child.ts'
import { $, isInstalled } from '../shell.ts'

const lastLines = 6

/** What a tool says, with the exit code: for tools whose refusal is an answer. @throws MISSING_TOOL */
export const ask = (tool: string, ...args: string[]): Promise<Ended> => askWith('', tool, ...args)

/** The same of a tool that reads `input`. */
export async function askWith(input: string, tool: string, ...args: string[]): Promise<Ended> {
  if (!isInstalled(tool))
    throw new ZtError('MISSING_TOOL', `${tool}: not installed`, {
      hint: `install the package that has ${tool}`,
    })
  const { exitCode, stdout, stderr } = await $({ input })`${tool} ${args}`.nothrow() // the caller reads the code
  return { exitCode: exitCode ?? 255, stdout, stderr }
}

/** What a tool prints. @throws IO with its last lines where it fails, MISSING_TOOL */
export async function must(tool: string, ...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await ask(tool, ...args)
  if (exitCode === 0) return stdout
  const said = `${stdout}\n${stderr}`.split('\n').filter(line => line.trim() !== '')
  throw new ZtError(
    'IO',
    `${tool} ${args.join(' ')}: exit ${exitCode}: ${said.slice(-lastLines).join(' | ')}`,
    {
      hint: `run it by hand to see it all: ${[tool, ...args].join(' ')}`,
    },
  )
}

export interface UnitState {
  /** As systemd says: enabled, disabled, static, masked, not-found, … */
  enabled: string
  /** As systemd says: active, inactive, failed, … */
  active: string
}

export async function unitState(unit: string): Promise<UnitState> {
  const properties = 'UnitFileState,ActiveState'
  const { stdout } = await ask('systemctl', 'show', '-p', properties, unit) // of a unit that is not there too
  const value = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
  return { enabled: value('UnitFileState') || 'not-found', active: value('ActiveState') }
}
