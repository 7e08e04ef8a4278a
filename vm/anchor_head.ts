/**
 * anchor_head: seals and anchors the audit trail, on the database host, as the account of its own that MySQL lets in by
 * auth_socket. Exit 0: the store has it. 1: the trail does not extend what was anchored. 3: could not run; run it again.
 */
import { anchorCommand } from '../lib/anchor_command.ts'
import { runMain } from '../lib/cli.ts'

if (import.meta.main) await runMain(anchorCommand())
