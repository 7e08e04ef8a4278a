/** A short account on stderr: a line a chapter with its time, and under it what was seen. */
import { bold, dim, green, interactive, red, say } from './cli.ts'
import type { Narrator } from './edge/demo/stage.ts'

const err = process.stderr

export function narrator(): Narrator {
  let count = 0
  let seen: string[] = []
  return {
    async chapter(title, act) {
      const number = String(++count).padStart(2)
      const started = performance.now()
      if (interactive()) err.write(`${number}  ${title} …`)
      const clear = interactive() ? '\r\x1b[2K' : ''
      seen = []
      try {
        const result = await act()
        const seconds = ((performance.now() - started) / 1000).toFixed(1)
        say(`${clear}${bold(number, err)}  ${title} ${dim(`${seconds} s`, err)}`)
        for (const line of seen) say(`    ${green('✓', err)} ${line}`)
        return result
      } catch (thrown) {
        say(`${clear}${number}  ${title}: ${red('failed', err)}`)
        throw thrown
      }
    },
    shows: line => {
      seen.push(line)
    },
  }
}
