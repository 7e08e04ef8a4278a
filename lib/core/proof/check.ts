import type { Check, Json } from '../controls/control.ts'

/** Every value that `at` leads to; `*` takes each member or element. */
export function valuesAt(result: Json, at: string): (Json | undefined)[] {
  let values: (Json | undefined)[] = [result]
  for (const step of at.split('.'))
    values = values.flatMap(value => {
      if (typeof value !== 'object' || value === null) return [undefined]
      if (step === '*') return Object.values(value)
      if (Array.isArray(value) && !/^[0-9]+$/.test(step)) return [undefined] // `length` is no member of JSON
      return [Object.hasOwn(value, step) ? (value as { [name: string]: Json })[step] : undefined]
    })
  return values
}

function valueHolds(check: Check, value: Json | undefined): boolean {
  if (value === undefined) return false
  const demands: boolean[] = []
  if (check.is !== undefined) demands.push(value === check.is)
  if (check.in !== undefined) demands.push(check.in.some(allowed => allowed === value))
  if (check.matches !== undefined)
    demands.push(typeof value === 'string' && new RegExp(check.matches, 'm').test(value))
  if (check.lacks !== undefined)
    demands.push(typeof value === 'string' && !new RegExp(check.lacks, 'm').test(value))
  if (check.length !== undefined)
    demands.push((typeof value === 'string' || Array.isArray(value)) && value.length === check.length)
  return demands.length > 0 && demands.every(Boolean)
}

/** True if `at` leads somewhere and every value there meets every demand. */
export function checkHolds(check: Check, result: Json): boolean {
  const values = valuesAt(result, check.at)
  return values.length > 0 && values.every(value => valueHolds(check, value))
}

const clip = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}…` : text)

function demanded({ is, in: allowed, matches, lacks, length }: Check): string {
  const words: string[] = []
  if (is !== undefined) words.push(JSON.stringify(is))
  if (allowed !== undefined) words.push(`one of ${allowed.map(value => JSON.stringify(value)).join(', ')}`)
  if (matches !== undefined) words.push(`text that matches ${matches}`)
  if (lacks !== undefined) words.push(`text without ${lacks}`)
  if (length !== undefined) words.push(`length ${length}`)
  return words.join(' and ')
}

/** What was expected and what was seen. */
export function describeCheck(check: Check, result: Json): string {
  const { probe, at } = check
  const bad = valuesAt(result, at).find(value => !valueHolds(check, value))
  return `${probe}: ${at}: expected ${demanded(check)}, got ${bad === undefined ? 'nothing' : clip(JSON.stringify(bad))}`
}
