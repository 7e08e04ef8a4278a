/**
 * proof_suite: collects raw evidence into a bundle on the database host, and judges one anywhere, offline, from the
 * auditor's own trust folder and anchors. Exit 0: everything asked for holds. 1: something does not. 3: could not run.
 */
import { command, runMain } from '../lib/cli.ts'
import { addCollect, addControls } from '../lib/proof_command.ts'
import { addDiff, addSchema, addSign, addVerify } from '../lib/proof_verify_command.ts'

function main() {
  const cmd = command('proof_suite', 'Collect the evidence of a zero-trust MySQL, and judge it offline.', [
    'proof_suite --socket /run/mysqld/mysqld.sock --anchor-now',
    'proof_suite verify /tmp/proof_bundle.tar.gz --trust trust --anchors anchors',
    'proof_suite verify proof_bundle.tar.gz --trust trust --anchors anchors --format html --out report.html',
    'proof_suite sign proof_bundle.tar.gz --sign-key key.pem',
    'proof_suite diff old.tar.gz new.tar.gz',
    'proof_suite controls',
  ])
  addCollect(cmd)
  addVerify(cmd)
  addSign(cmd)
  addDiff(cmd)
  addSchema(cmd)
  addControls(cmd)
  return cmd
}

if (import.meta.main) await runMain(main())
