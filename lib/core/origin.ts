import { ZtError } from './errors.ts'

const pattern = /^[a-z0-9./-]{1,200}$/

export const isOrigin = (text: string): boolean => pattern.test(text)

/** The name of one log (SPEC §2), as it came. @throws BAD_FORMAT */
export function checkOrigin(text: string, what = 'origin'): string {
  if (!isOrigin(text)) throw new ZtError('BAD_FORMAT', `${what}: not 1 to 200 characters of a-z 0-9 . / -`)
  return text
}
