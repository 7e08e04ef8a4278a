import { expect, test } from 'bun:test'
import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anchorByService } from '../../lib/edge/host/anchor_unit.ts'

const nobody = 65534

test("root does not read the key of another account, and says how that account's anchors are made", () => {
  const state = mkdtempSync(join(tmpdir(), 'zt-state-'))
  try {
    expect(anchorByService(state)).toBeUndefined() // its own
    expect(anchorByService(join(state, 'none'))).toBeUndefined()
    if (process.geteuid?.() !== 0) return
    chownSync(state, nobody, nobody)
    expect(() => anchorByService(state)).toThrow(
      expect.objectContaining({
        code: 'PERMISSION',
        message: `${state}: the key there is of another account (uid ${nobody})`,
        hint: expect.stringContaining(`anchor_head loop --every 5 --state ${state} --worm DIR`),
      }),
    )
  } finally {
    rmSync(state, { recursive: true, force: true })
  }
})
