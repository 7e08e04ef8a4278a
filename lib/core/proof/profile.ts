/** What a verdict asks for. An unknown demand is refused, an unmet one is never a pass. */
import { type Control, type Grade, grades } from '../controls/control.ts'
import { controls } from '../controls/index.ts'
import { ZtError } from '../errors.ts'
import type { Status } from './outcome.ts'

/**
 * `full`: every enforced control; `database`: the same without what only a whole host can show; `off-host`: without
 * anything that rests on the host's word.
 */
export const profiles = ['full', 'database', 'off-host'] as const
export type Profile = (typeof profiles)[number]

/** A control and its verdict, as far as a profile looks at them. */
interface Verdict {
  control: Pick<Control, 'id' | 'grade' | 'status'>
  status: Status
}

/** Whether a verdict is good enough for the profile. Nothing but a pass satisfies an enforced control that is asked for. */
export function satisfies({ control, status }: Verdict, profile: Profile): boolean {
  if (status === 'pass') return true
  if (control.status === 'optional') return true
  if (control.grade === 'host' && profile === 'off-host') return true
  if (status !== 'not-applicable') return false
  // there may be nothing stored yet that the claim could be about
  if (control.grade === 'recomputed' || control.status === 'available') return true
  return control.grade === 'host' && profile === 'database'
}

/** All of these together. */
export interface Requirement {
  /** As it was asked for. */
  text: string
  profiles: Profile[]
  /** Every enforced control of these grades. */
  grades: Grade[]
  /** These controls must pass, whatever their status, and so must what they rest on. */
  controls: string[]
}

/** Without it no observation says when, and of which host, it was made. */
const always = 'audit.bracketed'

/**
 * A list with commas: names of profiles, `grade:GRADE`, `google` (every control of the evidence from Google), ids of
 * controls. What is left out of it is judged and shown,
 * and asked for by nobody.
 * @throws USAGE for a name that this release does not know
 */
export function parseRequirement(text: string): Requirement {
  const asked: Requirement = { text, profiles: [], grades: [], controls: [] }
  for (const item of text.split(',').map(part => part.trim())) {
    const profile = profiles.find(name => name === item)
    const grade = grades.find(name => `grade:${name}` === item)
    if (profile) asked.profiles.push(profile)
    else if (grade) asked.grades.push(grade)
    else if (controls.some(({ id }) => id === item)) asked.controls.push(item)
    else if (item === 'google')
      asked.controls.push(...controls.flatMap(({ id, layer }) => (layer === item ? [id] : [])))
    else
      throw new ZtError(
        'USAGE',
        `--require: no profile, grade or control is called ${JSON.stringify(item)}`,
        {
          hint: `${profiles.join(', ')}, google; ${grades.map(name => `grade:${name}`).join(', ')}; or a control of proof_suite controls`,
        },
      )
  }
  if (asked.controls.length > 0 || asked.grades.length > 0)
    asked.controls = [...new Set([...asked.controls, always].flatMap(withFoundations))].sort()
  return asked
}

/** A control and everything that its claim rests on. */
const withFoundations = (id: string): string[] => [
  id,
  ...(controls.find(control => control.id === id)?.dependsOn ?? []).flatMap(withFoundations),
]

export function meets(verdict: Verdict, { profiles, grades, controls }: Requirement): boolean {
  const { control, status } = verdict
  if (controls.includes(control.id) && status !== 'pass') return false
  if (grades.includes(control.grade) && !satisfies(verdict, 'full')) return false
  return profiles.every(profile => satisfies(verdict, profile))
}

/** True if anything but a pass of it may break the verdict. */
export const isRequired = (control: Verdict['control'], requirement: Requirement): boolean =>
  !meets({ control, status: 'fail' }, requirement)
