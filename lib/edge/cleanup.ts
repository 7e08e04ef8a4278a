type Cleanup = () => void | Promise<void>

const cleanups = new Set<Cleanup>()

/**
 * Runs `cleanup` when the command ends by any road that runMain sees: success, error, Ctrl-C, SIGTERM.
 * Returns a way to forget it.
 */
export function onExit(cleanup: Cleanup): () => void {
  cleanups.add(cleanup)
  return () => {
    cleanups.delete(cleanup)
  }
}

/**
 * Runs every registered clean-up once, last registered first, and those that are registered meanwhile: the work goes on
 * while a clean-up waits. One that throws stops no other. Returns what was thrown.
 */
export async function runCleanups(): Promise<unknown[]> {
  const thrown: unknown[] = []
  for (let last = [...cleanups].at(-1); last !== undefined; last = [...cleanups].at(-1)) {
    cleanups.delete(last)
    try {
      await last()
    } catch (error) {
      thrown.push(error)
    }
  }
  return thrown
}
