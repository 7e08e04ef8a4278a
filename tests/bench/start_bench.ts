/** B16: the start of each binary. */
import { targets } from '../../lib/edge/build.ts'
import { binary } from '../support/binary.ts'
import { type Bench, compare } from './harness.ts'

async function seconds(command: string[]): Promise<number> {
  const began = performance.now()
  const child = Bun.spawn(command, { stdout: 'ignore', stderr: 'ignore', stdin: 'ignore' })
  if ((await child.exited) !== 0) throw new Error(`${command.join(' ')} failed`)
  return (performance.now() - began) / 1000
}

export const startBench: Bench = {
  id: 'B16',
  title: 'start of each binary',
  run: async (quick, say) => {
    const names = [
      'chain_verify',
      'anchor_head',
      'proof_suite',
      'pq_envelope_cli',
      'outside_pki',
      'vm_oneclick',
    ].filter(name => name in targets)
    const sides = [{ name: 'bun -e 0', measure: () => seconds([process.execPath, '-e', '0']) }]
    for (const name of names) {
      const path = await binary(name)
      sides.push({ name, measure: () => seconds([path, '--version']) })
    }
    return [
      await compare(
        {
          id: 'B16',
          title: 'start of each binary',
          quick,
          unit: 's',
          rounds: quick ? 5 : 11,
          sides,
          ratios: names.map(name => [name, 'bun -e 0', '<= 5']),
        },
        say,
      ),
    ]
  },
}
