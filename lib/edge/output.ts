import { writeSync } from 'node:fs'
import { errno, fileError } from './file_error.ts'

const closed = new Set<number>()

/**
 * Writes all of a text to a descriptor before it returns: a stream would lose what a slow reader had not taken
 * when the process exits. Once the reader (head, less) has gone, further text is dropped and the work goes on;
 * so it does when talk on stderr cannot be written, for whatever reason.
 * @throws as fileError of stdout, DISK_FULL for one
 */
export function writeAll(fd: 1 | 2, text: string): void {
  if (closed.has(fd)) return
  const bytes = Buffer.from(text)
  for (let done = 0; done < bytes.length; )
    try {
      done += writeSync(fd, bytes, done)
    } catch (thrown) {
      if (errno(thrown) === 'EAGAIN') {
        Bun.sleepSync(2) // a pipe that somebody made non-blocking is full
        continue
      }
      if (fd === 1 && errno(thrown) !== 'EPIPE') throw fileError(thrown, 'stdout')
      closed.add(fd)
      return
    }
}
