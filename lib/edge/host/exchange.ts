/** Two names change places in one moment: whoever looks sees all of the one or all of the other (renameat2, Linux). */
import { dlopen, ptr } from 'bun:ffi'

const atFdCwd = -100
const renameExchange = 2

type Renameat2 = (from: number, old: number, to: number, next: number, flags: number) => number
let renameat2: Renameat2 | null | undefined

function load(): Renameat2 | null {
  if (renameat2 !== undefined) return renameat2
  try {
    const { symbols } = dlopen('libc.so.6', {
      renameat2: { args: ['i32', 'ptr', 'i32', 'ptr', 'u32'], returns: 'i32' },
    })
    renameat2 = symbols.renameat2 as unknown as Renameat2
  } catch {
    renameat2 = null // another C library: the caller has a slower way
  }
  return renameat2
}

const cString = (text: string): Buffer => Buffer.from(`${text}\0`)

/** Whether the two paths were exchanged; false, and nothing was done, where this system or file system cannot. */
export function exchangePaths(one: string, other: string): boolean {
  const call = load()
  if (call === null) return false
  const [a, b] = [cString(one), cString(other)]
  return (
    call(atFdCwd, ptr(a) as unknown as number, atFdCwd, ptr(b) as unknown as number, renameExchange) === 0
  )
}
