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

/** Runs every registered clean-up once, last registered first; one that throws stops no other. Returns what was thrown. */
export async function runCleanups(): Promise<unknown[]> {
  const pending = [...cleanups].reverse()
  cleanups.clear()
  const thrown: unknown[] = []
  for (const cleanup of pending)
    try {
      await cleanup()
    } catch (error) {
      thrown.push(error)
    }
  return thrown
}
